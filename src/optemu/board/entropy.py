"""The board's entropy source: real by default, repeatable with a seed."""

import hashlib
import os
import threading


class Entropy:
    """``read(n)`` gives ``n`` random bytes. With a seed the same bytes come in the same order every run."""

    def __init__(self, seed: int | None = None) -> None:
        self.repeatable = seed is not None
        self._seed = None if seed is None else str(seed).encode()
        self._block = 0
        self._lock = threading.Lock()

    def read(self, size: int) -> bytes:
        if self._seed is None:
            return os.urandom(size)
        with self._lock:
            self._block += 1
            block, seed = self._block, self._seed
        return hashlib.shake_256(b"optemu entropy %d " % block + seed).digest(size)

    def add(self, data: bytes) -> None:
        """Mix ``data`` in: what follows depends on it. The host's source needs nothing of ours."""
        with self._lock:
            if self._seed is not None:
                self._seed = hashlib.sha256(len(self._seed).to_bytes(8, "little") + self._seed + data).digest()
