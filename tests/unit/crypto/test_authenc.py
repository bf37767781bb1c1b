"""AES-CCM and AES-GCM: published vectors, another implementation, splits and copies, forgeries, lengths."""

import pytest
from crypto_kit import DEC, ENC, cuts, flip, refused
from Cryptodome.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import cryp
from optemu.secure_world.crypto import gcm
from optemu.secure_world.crypto.authenc import AUTHENCS
from optemu.secure_world.crypto.block import AES as AES_BLOCK
from optemu.secure_world.crypto.gctr import Gctr, after

CCM, GCM = cryp.TEE_ALG_AES_CCM, cryp.TEE_ALG_AES_GCM
both = pytest.mark.parametrize("algo", [pytest.param(CCM, id="CCM"), pytest.param(GCM, id="GCM")])
h = bytes.fromhex
KEY, NONCE = bytes(range(16)), bytes(range(12))


def new(algo, mode, aad, payload, key=KEY, nonce=NONCE, tag_len=16):
    return AUTHENCS[algo](mode, key, nonce, tag_len, aad, payload)


def encrypt(algo, aad, plain, **args):
    ctx = new(algo, ENC, len(aad), len(plain), **args)
    ctx.update_aad(aad)
    return ctx.enc_final(plain)


def decrypt(algo, aad, cipher, tag, **args):
    ctx = new(algo, DEC, len(aad), len(cipher), **args)
    ctx.update_aad(aad)
    return ctx.dec_final(cipher, tag)


GCM_KEY = h("feffe9928665731c6d6a8f9467308308")
GCM_AAD = h("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_PLAIN = h(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
CCM_KEY = h("404142434445464748494a4b4c4d4e4f")

VECTORS = {
    # McGrew and Viega, test cases 1, 2, 4, 5 (short nonce) and 6 (long nonce)
    "gcm 1": (GCM, bytes(16), bytes(12), b"", b"", "", "58e2fccefa7e3061367f1d57a4e7455a"),
    "gcm 2": (GCM, bytes(16), bytes(12), b"", bytes(16), "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"),
    "gcm 4": (GCM, GCM_KEY, h("cafebabefacedbaddecaf888"), GCM_AAD, GCM_PLAIN, "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091", "5bc94fbc3221a5db94fae95ae7121a47"),
    "gcm 5": (GCM, GCM_KEY, h("cafebabefacedbad"), GCM_AAD, GCM_PLAIN, "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598", "3612d2e79e3b0785561be14aaca2fccb"),
    "gcm 6": (GCM, GCM_KEY, h("9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b"), GCM_AAD, GCM_PLAIN, "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca701e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5", "619cc5aefffe0bfa462af43c1699d050"),
    # NIST SP 800-38C, examples 1 to 3
    "ccm 1": (CCM, CCM_KEY, h("10111213141516"), bytes(range(8)), h("20212223"), "7162015b", "4dac255d"),
    "ccm 2": (CCM, CCM_KEY, h("1011121314151617"), bytes(range(16)), bytes(range(32, 48)), "d2a1f0e051ea5f62081a7792073d593d", "1fc64fbfaccd"),
    "ccm 3": (CCM, CCM_KEY, h("101112131415161718191a1b"), bytes(range(20)), bytes(range(32, 56)), "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5", "484392fbc1b09951"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    algo, key, nonce, aad, plain, cipher, tag = VECTORS[name]
    args = {"key": key, "nonce": nonce, "tag_len": len(tag) // 2}
    assert encrypt(algo, aad, plain, **args) == (h(cipher), h(tag))
    assert decrypt(algo, aad, h(cipher), h(tag), **args) == plain


@given(
    key=st.sampled_from([16, 24, 32]).map(bytes),
    nonce=st.binary(min_size=1, max_size=160),
    aad=st.binary(max_size=50),
    plain=st.binary(max_size=50),
    tag_len=st.integers(4, 16),
)
def test_gcm_is_another_implementations(key, nonce, aad, plain, tag_len):
    other = AES.new(key, AES.MODE_GCM, nonce, mac_len=tag_len)
    other.update(aad)
    assert encrypt(GCM, aad, plain, key=key, nonce=nonce, tag_len=tag_len) == other.encrypt_and_digest(plain)


@given(
    key=st.sampled_from([16, 24, 32]).map(bytes),
    nonce=st.binary(min_size=7, max_size=13),
    aad=st.binary(max_size=50),
    plain=st.binary(max_size=50),
    tag_len=st.sampled_from(range(4, 17, 2)),
)
def test_ccm_is_another_implementations(key, nonce, aad, plain, tag_len):
    other = AES.new(key, AES.MODE_CCM, nonce, mac_len=tag_len, assoc_len=len(aad), msg_len=len(plain))
    other.update(aad)
    assert encrypt(CCM, aad, plain, key=key, nonce=nonce, tag_len=tag_len) == other.encrypt_and_digest(plain)


@pytest.mark.parametrize("size", [0xFEFF, 0xFF00, 0x10000])
def test_ccm_with_long_additional_data(size):
    aad = bytes(size)
    other = AES.new(KEY, AES.MODE_CCM, NONCE, assoc_len=size, msg_len=3)
    other.update(aad)
    assert encrypt(CCM, aad, b"abc") == other.encrypt_and_digest(b"abc")


@pytest.mark.parametrize(("size", "nonce"), [(65535, 13), (65536, 12), (1 << 24, 11)])
def test_ccm_cuts_a_nonce_that_leaves_too_little_to_the_length(size, nonce):
    other = AES.new(KEY, AES.MODE_CCM, bytes(range(13))[:nonce], assoc_len=0, msg_len=size)
    assert encrypt(CCM, b"", bytes(size), nonce=bytes(range(13))) == other.encrypt_and_digest(bytes(size))


lengths = st.integers(0, 70)


@both
@pytest.mark.parametrize("nonce", [12, 7, 13])
@given(
    aad_len=lengths,
    plain_len=lengths,
    at=st.integers(0, 14),
    again=st.integers(0, 14),
    tag_len=st.sampled_from([4, 12, 16]),
    plan=st.data(),
)
def test_parts_and_copies_give_what_one_shot_gives(algo, nonce, aad_len, plain_len, at, again, tag_len, plan):
    aad, plain = bytes(range(aad_len)), bytes(range(100, 100 + plain_len))
    args = {"nonce": bytes(range(nonce)), "tag_len": tag_len}
    cipher, tag = encrypt(algo, aad, plain, **args)
    for mode, fed, expected in ((ENC, plain, (cipher, tag)), (DEC, cipher, plain)):
        ctx = new(algo, mode, aad_len, plain_len, **args)
        calls = [("update_aad", aad[part]) for part in plan.draw(cuts(aad_len))]
        calls += [("update_payload", fed[part]) for part in plan.draw(cuts(plain_len))]
        name, last = calls.pop()
        running = [[ctx, b""]]
        for number, (name, data) in enumerate(calls):
            if number in (at, again):
                running += [[one.copy(), out] for one, out in running]
            for pair in running:
                pair[1] += getattr(pair[0], name)(memoryview(data)) or b""
        running += [[one.copy(), out] for one, out in running]
        for one, out in running:
            if mode == ENC:
                end, got = one.enc_final(last)
                assert (out + end, got) == expected
            else:
                assert out + one.dec_final(last, bytearray(tag)) == expected


@both
@given(
    bit=st.integers(0, 1 << 20), what=st.sampled_from(["tag", "cipher", "aad", "nonce", "key"]), copied=st.booleans()
)
def test_forgeries(algo, bit, what, copied):
    right = {"aad": b"additional", "cipher": None, "nonce": NONCE, "key": KEY, "tag": None}
    right["cipher"], right["tag"] = encrypt(algo, right["aad"], b"secret" * 5)
    wrong = right | {what: flip(right[what], bit)}
    ctx = new(algo, DEC, 10, 30, key=wrong["key"], nonce=wrong["nonce"])
    ctx.update_aad(wrong["aad"])
    if copied:
        ctx = ctx.copy()
    ctx.update_payload(wrong["cipher"][:20])
    with refused("MAC_INVALID"):
        ctx.dec_final(wrong["cipher"][20:], wrong["tag"])


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("tag_len", range(17))
def test_gcm_has_tags_of_any_length(tag_len, copied):
    cipher, tag = encrypt(GCM, b"aad", b"plain", tag_len=tag_len)
    assert tag == encrypt(GCM, b"aad", b"plain")[1][:tag_len]
    for given_tag in (tag, tag + b"\0", tag[1:], flip(tag, 3) if tag else b"x"):
        ctx = new(GCM, DEC, 0, 0, tag_len=tag_len)
        ctx.update_aad(b"aad")
        ctx = ctx.copy() if copied else ctx
        if given_tag == tag:
            assert ctx.dec_final(cipher, given_tag) == b"plain"
        else:
            with refused("MAC_INVALID"):
                ctx.dec_final(cipher, given_tag)


def test_gcm_with_an_empty_nonce():
    """Upstream takes one: the first counter is then 0, whatever the key."""
    stream = AES.new(KEY, AES.MODE_CTR, nonce=b"", initial_value=1)
    assert encrypt(GCM, b"", b"plain", nonce=b"")[0] == stream.encrypt(b"plain")


@given(low=st.integers(0, 5), data=st.binary(max_size=200), at=st.integers(0, 200))
def test_the_counter_of_gcm_wraps_around_in_32_bits(low, data, at):
    first = (0xABCDEF << 32) + (1 << 32) - 1 - low
    blocks, counter = [], first
    for _ in range(13):
        blocks.append(counter.to_bytes(16, "big"))
        counter = after(counter)
    pad = AES.new(KEY, AES.MODE_ECB).encrypt(b"".join(blocks))
    expected = bytes(a ^ b for a, b in zip(data, pad, strict=False))
    ctx = Gctr(AES_BLOCK.keyed(KEY), first)
    head = ctx.update(data[:at])
    assert head + ctx.copy().update(data[at:]) == head + ctx.update(data[at:]) == expected


def test_gcm_decryption_that_is_too_long_to_keep(monkeypatch):
    monkeypatch.setattr(gcm, "MAX_KEPT", 100)
    plain = bytes(range(256)) * 2
    cipher, tag = encrypt(GCM, b"a" * 50, plain)
    ctx = new(GCM, DEC, 0, 0)
    ctx.update_aad(b"a" * 50)
    got = b"".join(ctx.update_payload(cipher[at : at + 45]) for at in range(0, 450, 45))
    assert got + ctx.dec_final(cipher[450:], tag) == plain


def test_gcm_takes_no_more_than_its_counter_allows(monkeypatch):
    monkeypatch.setattr(gcm, "_MAX_PAYLOAD", 32)
    ctx = new(GCM, ENC, 0, 0)
    ctx.update_payload(bytes(30))
    with refused("BAD_PARAMETERS"):
        ctx.update_payload(bytes(3))
    ctx.update_payload(bytes(2))


@pytest.mark.parametrize("mode", [ENC, DEC])
def test_gcm_wants_additional_data_first(mode):
    ctx = new(GCM, mode, 0, 0)
    ctx.update_payload(b"")
    ctx.update_aad(b"a")
    ctx.update_payload(b"p")
    for late in (b"a", b""):
        with refused("BAD_PARAMETERS"):
            ctx.update_aad(late)


@both
def test_after_the_end(algo):
    ctx = new(algo, ENC, 0, 1)
    ctx.enc_final(b"x")
    with refused("BAD_STATE"):
        ctx.update_payload(b"x")
    with refused("BAD_STATE"):
        ctx.copy().update_payload(b"x")


def test_gcm_arguments():
    for wrong in ({"key": bytes(17)}, {"tag_len": 17}):
        with refused("BAD_PARAMETERS"):
            new(GCM, ENC, 0, 0, **wrong)
    for algo in (CCM, GCM):
        with refused("BAD_PARAMETERS"):
            new(algo, cryp.TEE_MODE_MAC, 0, 0)


@pytest.mark.parametrize(
    ("wrong", "result"),
    [
        ({"key": bytes(33)}, "BAD_PARAMETERS"),
        ({"key": bytes(17)}, "BAD_STATE"),
        ({"nonce": bytes(14)}, "BAD_PARAMETERS"),
        ({"nonce": bytes(6)}, "BAD_STATE"),
        ({"aad": 1 << 31}, "BAD_PARAMETERS"),
        ({"payload": 1 << 31}, "BAD_PARAMETERS"),
        ({"tag_len": 2}, "NOT_SUPPORTED"),
        ({"tag_len": 5}, "NOT_SUPPORTED"),
        ({"tag_len": 18}, "NOT_SUPPORTED"),
        ({"tag_len": 2, "nonce": bytes(14)}, "BAD_PARAMETERS"),
    ],
)
def test_ccm_arguments(wrong, result):
    with refused(result):
        new(CCM, ENC, **{"aad": 0, "payload": 0} | wrong)


def test_ccm_wants_exactly_what_was_declared():
    ctx = new(CCM, ENC, 5, 5)
    with refused("BAD_STATE"):
        ctx.update_payload(b"p")
    with refused("BAD_STATE"):
        ctx.enc_final(b"")
    with refused("BAD_STATE"):
        ctx.update_aad(b"123456")
    ctx.update_aad(b"12345")
    with refused("BAD_STATE"):
        ctx.update_aad(b"6")
    with refused("BAD_STATE"):
        ctx.update_payload(b"123456")
    ctx.update_payload(b"123")
    with refused("BAD_STATE"):
        ctx.copy().enc_final(b"4")
    assert ctx.enc_final(b"45")[1] == encrypt(CCM, b"12345", b"12345")[1]


def test_ccm_compares_as_many_octets_as_it_is_given():
    cipher, tag = encrypt(CCM, b"", b"plain", tag_len=8)
    assert decrypt(CCM, b"", cipher, tag[:3], tag_len=8) == b"plain"
    for given_tag, result in ((b"", "SHORT_BUFFER"), (bytes(17), "BAD_STATE"), (tag + bytes(8), "MAC_INVALID")):
        with refused(result):
            decrypt(CCM, b"", cipher, given_tag, tag_len=8)
