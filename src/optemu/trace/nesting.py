"""Which calls are open: entries and returns paired, per OS thread and world.

The secure side is special. A secure thread that asks something of the normal world is suspended: the function that
took the SMC returns, while all that was called below it stays open until another SMC resumes it. So when that
outermost function returns with an RPC code, what is below it is put aside, and taken up again when one of it returns.
"""

from dataclasses import dataclass, field

from optemu.abi.optee_smc import is_rpc
from optemu.trace.event import Event
from optemu.trace.point import World


@dataclass(slots=True, eq=False)
class Frame:
    """One open call; ``depth`` counts from 0 within its thread's side of one world."""

    event: Event
    depth: int


@dataclass(slots=True)
class Stack:
    """The open calls of one thread in one world, outermost first."""

    frames: list[Frame] = field(default_factory=list)
    suspended: list[list[Frame]] = field(default_factory=list)

    def depths(self) -> list[int]:
        """The depths at which a call is open, running or suspended."""
        return [f.depth for frames in (*self.suspended, self.frames) for f in frames]


@dataclass(slots=True, frozen=True)
class Closed:
    """What a return ended: ``frame`` (None: its entry was not seen) and ``lost``, innermost first, never to return."""

    frame: Frame | None
    lost: list[Frame]


class Nesting:
    def __init__(self) -> None:
        self._stacks: dict[tuple[int, World], Stack] = {}

    def stack(self, thread: int, world: World) -> Stack:
        found = self._stacks.get((thread, world))
        if found is None:
            found = self._stacks[thread, world] = Stack()
        return found

    def enter(self, event: Event) -> Frame:
        stack = self.stack(event.thread, event.point.world)
        frame = Frame(event, stack.frames[-1].depth + 1 if stack.frames else 0)
        stack.frames.append(frame)
        return frame

    def exit(self, event: Event) -> Closed:
        stack = self.stack(event.thread, event.point.world)
        at = _find(stack.frames, event.point.name)
        if at is None and stack.suspended and _find(stack.suspended[-1], event.point.name) is not None:
            stack.frames += stack.suspended.pop()
            at = _find(stack.frames, event.point.name)
        if at is None:
            return Closed(None, [])
        frame, above = stack.frames[at], stack.frames[at + 1 :]
        del stack.frames[at:]
        if at == 0 and above and _leaves_for_rpc(event):
            stack.suspended.append(above)
            return Closed(frame, [])
        return Closed(frame, above[::-1])

    def clear(self) -> list[Frame]:
        """Forget all; the frames that were open, innermost first."""
        stacks = list(self._stacks.values())
        self._stacks.clear()
        return [f for s in stacks for frames in (s.frames, *s.suspended[::-1]) for f in reversed(frames)]


def _find(frames: list[Frame], name: str) -> int | None:
    """The innermost one of that name."""
    return next((n for n in reversed(range(len(frames))) if frames[n].event.point.name == name), None)


def _leaves_for_rpc(event: Event) -> bool:
    if event.point.world is not World.SECURE or not event.fields:
        return False
    code = event.fields[0][2]
    return isinstance(code, int) and is_rpc(code)


class Switches:
    """Where a thread changes worlds: between two events of it that lie in different ones."""

    def __init__(self) -> None:
        self._last: dict[int, Event] = {}

    def seen(self, event: Event) -> Event | None:
        """The event before this one, if it was in another world."""
        before = self._last.get(event.thread)
        self._last[event.thread] = event
        return before if before is not None and before.point.world is not event.point.world else None

    def clear(self) -> None:
        self._last.clear()
