"""The thread that waits for hang-ups, when numbers of descriptors come back faster than it looks."""

import os
import threading

from optemu.normal_world.gate.janitor import Janitor


def test_a_number_used_again_is_another_descriptor() -> None:
    """Two hang up at once; the first one's action closes the second and watches a new one of the same number."""
    janitor = Janitor()
    first, first_end = os.pipe()
    second, second_end = os.pipe()
    fresh, fresh_end = os.pipe()
    told, held, seen = [], threading.Event(), threading.Event()

    def replace() -> None:
        janitor.forget(first)
        janitor.forget(second)
        os.dup2(fresh, second)
        janitor.watch(second, lambda: told.append(second) or janitor.forget(second))

    janitor.watch(first, replace)
    janitor.watch(second, lambda: told.append("closed meanwhile"))
    janitor.post(lambda: held.wait(10) and None)  # both hang up while it is busy
    os.close(first_end)
    os.close(second_end)
    held.set()
    janitor.run(lambda: None)
    janitor.run(lambda: None)
    assert not told
    janitor.post(seen.set)
    os.close(fresh_end)
    seen.wait(10)
    janitor.run(lambda: None)
    janitor.run(lambda: None)
    assert told == [second]  # which the new one's own hang-up brings
    janitor.stop()
    for fd in (first, second, fresh):
        os.close(fd)
