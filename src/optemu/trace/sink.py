"""What every sink is, and how one is opened."""

from typing import Protocol

from optemu.trace.event import Event

QUIET_NS = 5_000_000
"""Nobody has recorded anything for so long: the machine is quiet, what is held back may be shown."""


class Sink(Protocol):
    """Gets the events in the order of time, all from one thread at a time."""

    def event(self, event: Event) -> None: ...

    def dropped(self, count: int) -> None:
        """``count`` events are missing here."""

    def idle(self) -> None:
        """Nothing more for now: show what is held back."""

    def close(self) -> None:
        """The last call. What the sink was given to write to stays open, but is flushed."""
