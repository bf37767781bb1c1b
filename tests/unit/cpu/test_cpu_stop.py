"""Stopping a run from outside, and many Cpus on two threads."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cpu_kit import CODE, DATA, DATA_PA, STACK_TOP, Bench, Watchdog

from optemu.secure_world.cpu import Stop, switch

SPIN = "00000014"  # b .
YIELD = "3f2003d5 5f2003d5 feffff17"  # 1: yield; wfe; b 1b
CALL_LOOP = "010000d4 ffffff17"  # 1: svc #0; b 1b
COUNT_CALLS = "090080d2 29050091 3f1d40f2 c1ffff54 e00309aa 010000d4 fbffff17"
# mov x9,#0; 1: add x9,x9,#1; tst x9,#0xff; b.ne 1b; mov x0,x9; svc #0; b 1b
SUM = "020080d2 038440f8 4200038b 210400f1 a1ffff54 e00302aa 010000d4"
# mov x2,#0; 1: ldr x3,[x0],#8; add x2,x2,x3; subs x1,x1,#1; b.ne 1b; mov x0,x2; svc #0

# What must not be done twice: a load into its own base register, an atomic add, a load that moves its base.
ONCE_EACH = "240080d2 210040f9 450024f8 668440f8 632000d1 000400f1 61ffff54 010000d4"
# mov x4,#1; 1: ldr x1,[x1]; ldadd x4,x5,[x2]; ldr x6,[x3],#8; sub x3,x3,#8; subs x0,x0,#1; b.ne 1b; svc #0


@pytest.fixture(params=["own code", "overwritten"])
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Both ways to stop an engine. On other processors than x86-64 both are the second."""
    if request.param == "overwritten":
        monkeypatch.setattr(switch, "_own_code", lambda: None)
    return Bench()


@pytest.mark.parametrize("code", [SPIN, YIELD], ids=["spin", "yield"])
def test_endless_loop(bench: Bench, code: str) -> None:
    for _ in range(3):
        with Watchdog(bench.cpu):
            assert bench.run(code) is Stop.STOPPED
        bench.cpu.clear_stop()


def test_request_before_the_run_is_kept(bench: Bench) -> None:
    bench.cpu.request_stop()
    assert bench.run(CALL_LOOP, 5) is Stop.STOPPED
    assert bench.cpu.registers()["x0"] == 5
    assert (bench.cpu.pc, bench.cpu.sp) == (CODE, STACK_TOP)
    assert bench.cpu.continue_() is Stop.STOPPED, "until it is cleared"
    bench.cpu.clear_stop()
    assert bench.cpu.continue_() is Stop.SVC
    assert bench.cpu.args[0] == 5


def test_request_during_a_system_call_keeps_its_result(bench: Bench) -> None:
    bench.run(CALL_LOOP, 5)
    bench.cpu.request_stop()
    assert bench.cpu.resume(6) is Stop.STOPPED
    bench.cpu.clear_stop()
    assert bench.cpu.continue_() is Stop.SVC
    assert bench.cpu.args[0] == 6


def test_state_saved_while_stopped(bench: Bench) -> None:
    bench.cpu.request_stop()
    bench.run(CALL_LOOP, 5)
    saved = bench.cpu.save()
    bench.cpu.clear_stop()
    bench.run(CALL_LOOP, 9)
    bench.cpu.restore(saved)
    assert bench.cpu.continue_() is Stop.SVC
    assert bench.cpu.args[0] == 5


def test_stops_lose_no_instruction(bench: Bench) -> None:
    """Counting goes on exactly where it was, whenever the stop fell."""
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(0.0002):
            bench.cpu.request_stop()

    thread = threading.Thread(target=disturb)
    thread.start()
    expected, stopped = 256, 0
    stop = bench.run(COUNT_CALLS)
    while stopped < 200:
        if stop is Stop.STOPPED:
            stopped += 1
            bench.cpu.clear_stop()
            stop = bench.cpu.continue_()
        else:
            assert stop is Stop.SVC
            assert bench.cpu.args[0] == expected
            expected += 256
            stop = bench.cpu.resume(0)
    over.set()
    thread.join()


def test_stops_do_nothing_twice(bench: Bench) -> None:
    """Whatever instruction the request falls on: a ring of pointers, a counter and a moving pointer stay in step."""
    ring, counter, word = DATA, DATA + 0x100, DATA + 0x200
    for n in range(7):
        bench.poke(DATA_PA + 8 * n, (ring + 8 * ((n + 1) % 7)).to_bytes(8, "little"))
    start = CODE + bench.place(ONCE_EACH)
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(0.0002):
            bench.cpu.request_stop()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        at, count, stopped = ring, 0, 0
        while stopped < 300:
            stop = bench.cpu.enter(start, STACK_TOP, 5000, at, counter, word)
            while stop is Stop.STOPPED:
                stopped += 1
                bench.cpu.clear_stop()
                stop = bench.cpu.continue_()
            assert stop is Stop.SVC
            count += 5000
            at = bench.cpu.args[1]
            assert (at - ring) // 8 == count % 7
            assert bench.peek(DATA_PA + 0x100) == count
            assert bench.cpu.args[3] == word
    finally:
        over.set()
        thread.join()


def test_many_cpus_on_two_threads() -> None:
    """Thirty Cpus side by side, each used by both threads one after the other."""
    benches = [Bench() for _ in range(30)]
    words = 500
    for i, bench in enumerate(benches):
        bench.poke(DATA_PA, (i + 1).to_bytes(8, "little") * words)
    starts = [CODE + bench.place(SUM) for bench in benches]

    def work(order: list[int]) -> None:
        for i in order:
            assert benches[i].cpu.enter(starts[i], STACK_TOP, DATA, words) is Stop.SVC
            assert benches[i].cpu.args[0] == (i + 1) * words

    even, odd = list(range(0, 30, 2)), list(range(1, 30, 2))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            for left in [pool.submit(work, even), pool.submit(work, odd)]:
                left.result()
            even, odd = odd, even
    for bench in benches:
        bench.cpu.close()


@pytest.mark.parametrize("arch", ["aarch64", "arm"])
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_of_a_further_cpu(arch: str) -> None:
    call = {"aarch64": CALL_LOOP, "arm": "000000ef fdffffea"}[arch]
    benches = [Bench(arch)]
    benches[0].run(call)
    before = _resident()
    for _ in range(8):
        benches.append(Bench(arch))
        assert benches[-1].run(call) is Stop.SVC
    assert (_resident() - before) / 8 < 6 << 20
    for bench in benches:
        bench.cpu.close()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
