"""Sources of random bytes, and keys, for the tests of asymmetric algorithms."""

import os
from functools import cache
from hashlib import shake_256

from optemu.abi import cryp
from optemu.errors import TeeError
from optemu.secure_world.crypto import acipher


class Real:
    repeatable = False

    def read(self, size):
        return os.urandom(size)


class Seeded:
    """The same bytes after the same seed."""

    repeatable = True

    def __init__(self, seed=b""):
        self._stream = shake_256(seed).digest(1 << 16)
        self._taken = 0

    def read(self, size):
        assert self._taken + size <= len(self._stream)
        self._taken += size
        return self._stream[self._taken - size : self._taken]


class Scripted:
    """Gives the bytes it was told, and nothing else."""

    repeatable = True

    def __init__(self, *pieces):
        self._pieces = list(pieces)

    def read(self, size):
        piece = self._pieces.pop(0)
        assert len(piece) == size
        return piece


class Stuck:
    """A source that gives one byte for ever: nothing may wait for another."""

    repeatable = True

    def __init__(self, byte):
        self._byte = byte

    def read(self, size):
        return bytes((self._byte,)) * size


@cache
def attributes(object_type, bits, curve=0, seed=b"key"):
    """A new key pair's attributes, the same in every test."""
    params = {cryp.TEE_ATTR_ECC_CURVE: curve} if curve else {}
    return params | acipher.generate_key(object_type, bits, params, Seeded(seed))


@cache
def key(object_type, bits, curve=0, seed=b"key"):
    return acipher.load_key(object_type, attributes(object_type, bits, curve, seed))


def code_of(call, *args):
    """The TEE_Result a call fails with; None when it succeeds."""
    try:
        call(*args)
    except TeeError as e:
        return e.code
    return None


def flipped(octets, bit):
    """``octets`` with one of its bits, counted round and round, changed."""
    bit %= 8 * len(octets)
    return (int.from_bytes(octets, "big") ^ 1 << bit).to_bytes(len(octets), "big")
