"""The board's entropy source: real by default, repeatable with a seed."""

import hashlib
import os
import threading


class Entropy:
    """``read(n)`` gives ``n`` random bytes. With a seed the same bytes come in the same order every run."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = None if seed is None else str(seed).encode()
        self._block = 0
        self._lock = threading.Lock()

    def read(self, size: int) -> bytes:
        if self._seed is None:
            return os.urandom(size)
        with self._lock:
            self._block += 1
            block = self._block
        return hashlib.shake_256(b"optemu entropy %d " % block + self._seed).digest(size)
