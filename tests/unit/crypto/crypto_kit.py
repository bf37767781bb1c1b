"""What the tests of the running contexts share."""

from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.errors import TeeError

ENC, DEC = cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT


@contextmanager
def refused(name):
    """The TEE_Result TEE_ERROR_``name``, and a text that tells people why."""
    with pytest.raises(TeeError) as caught:
        yield
    assert gp.result_name(caught.value.code) == f"TEE_ERROR_{name}"
    assert caught.value.message


@st.composite
def cuts(draw, size, step=1):
    """Where to cut ``size`` octets into updates, at multiples of ``step``: slices."""
    at = sorted(draw(st.lists(st.integers(0, size // step), max_size=5)))
    edges = [0, *(step * cut for cut in at), size]
    return [slice(a, b) for a, b in pairwise(edges)]


def flip(data, bit):
    """``data`` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)
