"""Which road a program takes."""

import struct
from pathlib import Path

import pytest

from optemu.normal_world import preload, program
from optemu.normal_world.program import GATE, PRELOAD, Plan, RoadError, look, plan

GLIBC = {62: "/lib64/ld-linux-x86-64.so.2", 183: "/lib/ld-linux-aarch64.so.1"}
OLD = "running programs needs Linux 5.19 or later"


def elf(path: Path, machine: int, loader: str = "") -> Path:
    name = loader.encode() + b"\0" if loader else b""
    ehdr = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, machine, 1, 0, 64, 0, 0, 64, 56, int(bool(loader)), 0, 0, 0
    )
    phdr = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1) if loader else b""
    path.write_bytes(ehdr + phdr + name)
    path.chmod(0o755)
    return path


def ask(argv: list[str | Path], wanted: str | None = None, reason: str = "", env: dict[str, str] | None = None) -> Plan:
    return plan([str(arg) for arg in argv], wanted, lambda: reason, env or {"PATH": "/bin:/usr/bin"}, "x86_64")


@pytest.fixture
def native(tmp_path: Path) -> Path:
    return elf(tmp_path / "native", 62, GLIBC[62])


def test_what_files_are(tmp_path: Path, native: Path) -> None:
    assert look(str(native)) == program.Program("x86_64", GLIBC[62])
    assert look(str(elf(tmp_path / "static", 183))) == program.Program("aarch64", "")
    script = tmp_path / "script"
    script.write_text(f"#!{native} -x\n")
    assert look(str(script)) == program.Program("x86_64", GLIBC[62])
    script.write_text(f"#!{script}\n")
    assert look(str(script)) is None
    for content in (b"", b"\x7fELF", b"\x7fELF\2\1" + b"\xff" * 90, b"#!\n", b"text"):
        script.write_bytes(content)
        look(str(script))
    assert look(str(tmp_path)) is None


def test_the_gate_where_it_can_be(native: Path) -> None:
    assert ask([native]).road == GATE
    assert ask([native], GATE).road == GATE
    assert ask(["no-such-program"]).road == GATE


def test_the_library_where_not(native: Path) -> None:
    assert ask([native], PRELOAD) == Plan(PRELOAD, [str(native)], "x86_64", False, "as asked")
    chosen = ask([native], reason=OLD)
    assert (chosen.road, chosen.because) == (PRELOAD, OLD)
    with pytest.raises(RoadError, match=r"5\.19"):
        ask([native], GATE, OLD)


def test_programs_nothing_can_be_loaded_into(tmp_path: Path) -> None:
    with pytest.raises(RoadError, match=r"is static.*5\.19"):
        ask([elf(tmp_path / "static", 62)], reason=OLD)
    with pytest.raises(RoadError, match="ld-musl"):
        ask([elf(tmp_path / "musl", 62, "/lib/ld-musl-x86_64.so.1")], PRELOAD)
    with pytest.raises(RoadError, match="i386"):
        ask([elf(tmp_path / "compat", 3, "/lib/ld-linux.so.2")], PRELOAD)


@pytest.mark.parametrize("qemu", ["qemu-aarch64", "/opt/bin/qemu-aarch64-static"])
def test_qemu_named(qemu: str) -> None:
    chosen = ask([qemu, "-L", "/sysroot", "./client"])
    assert (chosen.road, chosen.machine, chosen.emulated) == (PRELOAD, "aarch64", True)
    assert chosen.argv == [qemu, "-L", "/sysroot", "./client"]
    with pytest.raises(RoadError, match="--via preload"):
        ask([qemu, "./client"], GATE)
    with pytest.raises(RoadError, match="programs for arm"):
        ask(["qemu-arm", "./client"])


def test_a_foreign_program_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = elf(tmp_path / "foreign", 183, GLIBC[183])
    monkeypatch.setattr(program.shutil, "which", lambda name, **_: name if name.startswith(("/", "qemu-a")) else None)
    monkeypatch.setattr(program, "SYSROOTS", {"aarch64": str(tmp_path)})
    chosen = ask([foreign, "arg"])
    assert chosen.argv == ["qemu-aarch64", "-L", str(tmp_path), str(foreign), "arg"]
    assert (chosen.machine, chosen.emulated) == ("aarch64", True)
    assert ask([foreign], env={"QEMU_LD_PREFIX": "/mine"}).argv == ["qemu-aarch64", str(foreign)]
    monkeypatch.setattr(program.shutil, "which", lambda name, **_: name if name.startswith("/") else None)
    with pytest.raises(RoadError, match="apt-get install qemu-user"):
        ask([foreign])


def test_environments() -> None:
    assert preload.environment({"LD_PRELOAD": "a.so"}, "/s", "/lib.so", False) == {
        "LD_PRELOAD": "/lib.so:a.so",
        "OPTEMU_SOCKET": "/s",
    }
    env = {"LD_PRELOAD": "host.so", "QEMU_SET_ENV": "A=1,LD_PRELOAD=guest.so"}
    assert preload.environment(env, "/s", "/lib.so", True) == {
        "LD_PRELOAD": "host.so",
        "QEMU_SET_ENV": "A=1,LD_PRELOAD=/lib.so:guest.so",
        "OPTEMU_SOCKET": "/s",
    }
