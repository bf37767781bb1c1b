"""Digests: published vectors of "abc", splits and copies, squeezing."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto import hash as hashes

ABC = {
    cryp.TEE_ALG_MD5: "900150983cd24fb0d6963f7d28e17f72",
    cryp.TEE_ALG_SHA1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    cryp.TEE_ALG_SHA224: "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
    cryp.TEE_ALG_SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    cryp.TEE_ALG_SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    cryp.TEE_ALG_SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    cryp.TEE_ALG_SHA3_224: "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
    cryp.TEE_ALG_SHA3_256: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    cryp.TEE_ALG_SHA3_384: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
    cryp.TEE_ALG_SHA3_512: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
    cryp.TEE_ALG_SM3: "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
}
EMPTY_XOF = {
    cryp.TEE_ALG_SHAKE128: "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
    cryp.TEE_ALG_SHAKE256: "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762fd75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be",
}


def test_nothing_is_untested():
    assert set(ABC) | set(EMPTY_XOF) == set(hashes.HASHES)


@pytest.mark.parametrize(("algo", "expected"), ABC.items())
def test_abc(algo, expected):
    assert hashes.digest(algo, b"abc").hex() == expected
    assert hashes.digest_size(algo) == hashes.HASHES[algo]().digest_size == len(expected) // 2
    assert hashes.library_hash(algo).digest_size == len(expected) // 2


@pytest.mark.parametrize(("algo", "expected"), EMPTY_XOF.items())
def test_shake_of_nothing(algo, expected):
    ctx = hashes.HASHES[algo]()
    assert ctx.digest_size == 0
    assert (ctx.final(5) + ctx.final(0) + ctx.final(len(expected) // 2 - 5)).hex() == expected


@pytest.mark.parametrize("algo", hashes.HASHES)
@given(parts=st.lists(st.binary(max_size=300), max_size=5), at=st.integers(0, 5), other=st.binary(max_size=20))
def test_a_copy_goes_its_own_way(algo, parts, at, other):
    def whole(data):
        ctx = hashes.HASHES[algo]()
        ctx.update(data)
        return ctx.final(100)

    ctx = hashes.HASHES[algo]()
    for part in parts[:at]:
        ctx.update(part)
    fork = ctx.copy()
    fork.update(other)
    for part in parts[at:]:
        ctx.update(bytearray(part))
    assert ctx.final(100) == whole(b"".join(parts))
    assert fork.final(100) == whole(b"".join(parts[:at]) + other)


@given(sizes=st.lists(st.integers(0, 400), max_size=6), at=st.integers(0, 6))
def test_shake_squeezed_in_pieces_and_copied_between(sizes, at):
    expected = hashlib.shake_128(b"optemu").digest(sum(sizes))
    ctx = hashes.HASHES[cryp.TEE_ALG_SHAKE128]()
    ctx.update(b"optemu")
    head = b"".join(ctx.final(size) for size in sizes[:at])
    fork = ctx.copy()
    for one in (ctx, fork):
        assert head + b"".join(one.final(size) for size in sizes[at:]) == expected


def test_shake_takes_nothing_after_it_gave_something():
    ctx = hashes.HASHES[cryp.TEE_ALG_SHAKE256]()
    ctx.final(1)
    ctx.update(b"")
    for one in (ctx, ctx.copy()):
        with pytest.raises(TeeError) as refused:
            one.update(b"x")
        assert refused.value.code == gp.TEE_ERROR_BAD_STATE


@pytest.mark.parametrize("algo", [cryp.TEE_ALG_SHAKE128, cryp.TEE_ALG_MD5SHA1, 0])
def test_no_digest_of_fixed_size(algo):
    for ask in (hashes.digest_size, hashes.library_hash, lambda algo: hashes.digest(algo, b"")):
        with pytest.raises(TeeError) as refused:
            ask(algo)
        assert refused.value.code == gp.TEE_ERROR_NOT_SUPPORTED
