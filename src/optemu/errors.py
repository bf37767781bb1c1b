"""The two kinds of failure that are part of the TEE's contract; anything else is our own bug (law 7).

And how the operating system's are told to people.
"""

from optemu.abi import gp


class TeeError(Exception):
    """Becomes the TEE_Result ``code`` at the next boundary; ``message`` is for the log."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message or gp.result_name(code))
        self.code = code
        self.message = message


class TaPanic(Exception):
    """Kills the TA context: TEE_ERROR_TARGET_DEAD to whoever calls it, ``code`` in the dump."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message or f"panic 0x{code:x}")
        self.code = code
        self.message = message


def explain(why: object) -> object:
    """An error of the operating system without its number: ``FILE: No such file or directory``."""
    if not isinstance(why, OSError) or not why.strerror:
        return why
    return f"{why.filename}: {why.strerror}" if why.filename else why.strerror
