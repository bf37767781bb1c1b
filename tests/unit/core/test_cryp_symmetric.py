"""Digests, MACs, ciphers, authenticated encryption: their states, sizes and buffers; any split equals one shot."""

from itertools import pairwise

import pytest
from core_fakes import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from obj_kit import BAD, CODE, DENIED, NOWHERE, OK, OOM, PAGE, SHORT, STATE, UNSUPPORTED
from op_kit import AUX, IN, OUT, SERVED, SIZE, OpRoom

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.secure_world.core.mobj import Mobj
from optemu.secure_world.core.param import Memref, TaParams
from optemu.secure_world.crypto.algorithms import ALGORITHMS, Algorithm

ENCRYPT, DECRYPT, SIGN = cryp.TEE_MODE_ENCRYPT, cryp.TEE_MODE_DECRYPT, cryp.TEE_MODE_SIGN
MAC, DIGEST = cryp.TEE_MODE_MAC, cryp.TEE_MODE_DIGEST
MAC_INVALID = gp.TEE_ERROR_MAC_INVALID
SHA256, AES_CBC = ALGORITHMS[cryp.TEE_ALG_SHA256], ALGORITHMS[cryp.TEE_ALG_AES_CBC_NOPAD]
GCM, CCM = ALGORITHMS[cryp.TEE_ALG_AES_GCM], ALGORITHMS[cryp.TEE_ALG_AES_CCM]
NONCE = bytes(range(12))
few = settings(max_examples=8)


def rows(*providers: str) -> pytest.MarkDecorator:
    found = [row for row in SERVED if row.provider in providers]
    return pytest.mark.parametrize("row", found, ids=lambda row: row.name)


@pytest.fixture
def room() -> OpRoom:
    return OpRoom()


# --- splits ----------------------------------------------------------------------------------------------------------


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` in pieces, the last of which may be empty."""
    edges = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def is_nopad_mac(row: Algorithm) -> bool:
    return row.name.endswith("CBC_MAC_NOPAD")


@rows("hash", "mac")
@few
@given(data=st.binary(min_size=1, max_size=200), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_a_digest_in_pieces(row: Algorithm, data: bytes, cuts: list[int]) -> None:
    if is_nopad_mac(row):
        data = (data * 16)[: len(data) * 16 // 3 // 16 * 16 or 16]
    room = OpRoom()
    state = room.op(row, row.modes[0])
    assert room.init(row, state) == OK
    whole = room.hash_final(state, data)
    assert whole[0] == OK
    assert room.init(row, state) == OK
    *pieces, last = cut(data, cuts)
    for piece in pieces:
        assert room.hash_update(state, piece) == OK
    assert room.hash_final(state, last) == whole


def iv_size(row: Algorithm) -> int:
    if "ECB" in row.name:
        return 0
    return 8 if "DES" in row.name else 16


@rows("cipher")
@pytest.mark.parametrize("mode", [ENCRYPT, DECRYPT])
@few
@given(
    data=st.binary(min_size=96, max_size=200), cuts=st.lists(st.integers(0, 12), max_size=4), tail=st.integers(0, 15)
)
def test_a_cipher_in_pieces(row: Algorithm, mode: int, data: bytes, cuts: list[int], tail: int) -> None:
    """Whole blocks until the last; XTS and CTS end on any number of bytes, CTR takes any all the time."""
    bytewise = row.number in (cryp.TEE_ALG_AES_CTR, cryp.TEE_ALG_AES_XTS, cryp.TEE_ALG_AES_CTS, cryp.TEE_ALG_SM4_XTS)
    whole_size = len(data) // 16 * 16
    data = data[: whole_size - 16 + tail if bytewise else whole_size]
    room = OpRoom()
    state = room.op(row, mode)
    assert room.init(row, state, iv=bytes(range(iv_size(row)))) == OK
    ret, whole = room.data(scn.TEE_SCN_CIPHER_FINAL, state, data)
    assert ret == OK
    assert whole != data
    assert room.init(row, state, iv=bytes(range(iv_size(row)))) == OK
    blocks = (len(data) - 32) // 16
    edges = [0, *sorted(16 * (at % (blocks + 1)) for at in cuts), len(data)]
    out = b""
    for a, b in pairwise(edges):
        number = scn.TEE_SCN_CIPHER_FINAL if b == len(data) else scn.TEE_SCN_CIPHER_UPDATE
        ret, piece = room.data(number, state, data[a:b])
        assert ret == OK
        out += piece
    assert out == whole


@rows("cipher")
def test_what_is_encrypted_is_decrypted(room: OpRoom, row: Algorithm) -> None:
    text = bytes(range(64))
    for mode in (ENCRYPT, DECRYPT):
        state = room.op(row, mode)
        assert room.init(row, state, iv=bytes(iv_size(row))) == OK
        ret, text = room.data(scn.TEE_SCN_CIPHER_FINAL, state, text)
        assert ret == OK
    assert text == bytes(range(64))


def seal(room: OpRoom, row: Algorithm, aad: list[bytes], pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Ciphertext and tag of what comes in ``pieces``."""
    state = room.op(row, ENCRYPT)
    sizes = {"aad": sum(map(len, aad)), "payload": sum(map(len, pieces))}
    assert room.init(row, state, iv=NONCE, **sizes) == OK
    for piece in aad:
        room.put(IN, piece or b"\0")
        assert room.call(scn.TEE_SCN_AUTHENC_UPDATE_AAD, state, IN, len(piece)) == OK
    *updates, last = pieces
    out = b""
    for piece in updates:
        ret, some = room.data(scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, state, piece)
        assert ret == OK
        out += some
    room.put(IN, last or b"\0")
    room.put_size(len(last))
    room.put_size(16, SIZE + 8)
    args = (IN, len(last), IN, SIZE, AUX, SIZE + 8)
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, *args) == OK
    return out + room.get(IN, len(last)), room.get(AUX, 16)


def open_(room: OpRoom, row: Algorithm, aad: bytes, data: bytes, tag: bytes) -> tuple[int, bytes]:
    state = room.op(row, DECRYPT)
    assert room.init(row, state, iv=NONCE, aad=len(aad), payload=len(data)) == OK
    room.put(IN, aad or b"\0")
    assert room.call(scn.TEE_SCN_AUTHENC_UPDATE_AAD, state, IN, len(aad)) == OK
    room.put(IN, data or b"\0")
    room.put(AUX, tag)
    room.put(OUT, bytes(len(data)))
    room.put_size(len(data))
    ret = room.call(scn.TEE_SCN_AUTHENC_DEC_FINAL, state, IN, len(data), OUT, SIZE, AUX, len(tag))
    return ret, room.get(OUT, len(data))


@rows("authenc")
@few
@given(data=st.binary(max_size=100), aad=st.binary(max_size=40), cuts=st.lists(st.integers(0, 100), max_size=4))
def test_authenticated_encryption_in_pieces(row: Algorithm, data: bytes, aad: bytes, cuts: list[int]) -> None:
    room = OpRoom()
    whole = seal(room, row, [aad], [data])
    assert seal(room, row, cut(aad, cuts), cut(data, cuts)) == whole
    assert open_(room, row, aad, *whole) == (OK, data)


@rows("authenc")
@few
@given(data=st.binary(min_size=1, max_size=60), aad=st.binary(min_size=1, max_size=30), bit=st.integers(0, 1 << 16))
def test_any_flipped_bit_is_refused(row: Algorithm, data: bytes, aad: bytes, bit: int) -> None:
    """And nothing of the plaintext is shown."""
    room = OpRoom()
    text, tag = seal(room, row, [aad], [data])
    whole = bytearray(aad + text + tag)
    bit %= 8 * len(whole)
    whole[bit // 8] ^= 1 << bit % 8
    cuts = len(aad), len(aad) + len(text)
    parts = bytes(whole[: cuts[0]]), bytes(whole[cuts[0] : cuts[1]]), bytes(whole[cuts[1] :])
    assert open_(room, row, *parts) == (MAC_INVALID, bytes(len(data)))


# --- digests and MACs ------------------------------------------------------------------------------------------------


@rows("hash", "mac")
def test_too_little_room_for_a_digest(room: OpRoom, row: Algorithm) -> None:
    """The size that is needed is told, and the operation goes on."""
    state = room.op(row, row.modes[0])
    assert room.init(row, state) == OK
    if "SHAKE" in row.name:
        return
    assert room.hash_final(state, bytes(16), room=3)[0] == SHORT
    needed = room.size()
    ret, digest = room.hash_final(state, bytes(16), room=needed)
    assert ret == OK
    assert len(digest) == needed
    assert room.init(row, state) == OK
    assert room.hash_final(state, bytes(16)) == (OK, digest)


def test_shake_gives_what_there_is_room_for_again_and_again(room: OpRoom) -> None:
    row = ALGORITHMS[cryp.TEE_ALG_SHAKE128]
    state = room.op(row, DIGEST)
    assert room.init(row, state) == OK
    whole = room.hash_final(state, b"abc", 60)[1]
    assert room.init(row, state) == OK
    assert room.hash_final(state, b"abc", 0) == (OK, b"")
    parts = [room.hash_final(state, b"", size)[1] for size in (1, 20, 0, 39)]
    assert b"".join(parts) == whole
    assert room.hash_update(state, b"x") == STATE


def test_a_digest_before_init(room: OpRoom) -> None:
    state = room.op(SHA256, DIGEST)
    assert room.hash_update(state, b"x") == STATE
    assert room.hash_update(state, b"") == OK
    assert room.hash_final(state)[0] == STATE


def test_pointers_of_a_digest(room: OpRoom) -> None:
    state = room.op(SHA256, DIGEST)
    assert room.init(SHA256, state) == OK
    update, final = scn.TEE_SCN_HASH_UPDATE, scn.TEE_SCN_HASH_FINAL
    assert room.call(update, state, 0, 1) == BAD
    assert room.call(update, 0xBAD, 0, 0) == OK
    assert room.call(update, 0xBAD, NOWHERE, 1) == DENIED
    assert room.call(update, state, IN, 1 << 63) == DENIED
    assert room.call(update, state, (1 << 64) - 1, (1 << 64) - 1) == DENIED
    room.put_size(32)
    assert room.call(final, state, 0, 1, AUX, SIZE) == BAD
    assert room.call(final, state, NOWHERE, 1, AUX, SIZE) == DENIED
    assert room.call(final, state, 0, 0, AUX, 0) == DENIED
    assert room.call(final, state, 0, 0, CODE, SIZE) == DENIED
    room.put_size(1 << 40)
    assert room.call(final, state, 0, 0, AUX, SIZE) == DENIED
    room.put_size(32)
    assert room.call(final, 0xBAD, 0, 0, AUX, SIZE) == BAD
    assert room.call(final, state, 0, 0, AUX, SIZE) == OK


def test_shared_memory_is_read_and_written(room: OpRoom) -> None:
    state = room.op(SHA256, DIGEST)
    theirs = room.share()
    for va in (IN, theirs):
        room.put(va, b"abc")
        room.put_size(32)
        assert room.init(SHA256, state) == OK
        assert room.call(scn.TEE_SCN_HASH_UPDATE, state, va, 3) == OK
        assert room.call(scn.TEE_SCN_HASH_FINAL, state, 0, 0, va, SIZE) == OK
    assert room.get(IN, 32) == room.get(theirs, 32)


def test_data_that_lie_in_two_regions(room: OpRoom) -> None:
    """As a parameter of two runs of pages does."""
    a, b = shared(room.tee.board.memory, PAGE), shared(room.tee.board.memory, PAGE)
    mobj = Mobj((*a.runs, *b.runs), 0, 2 * PAGE, 1)
    va = room.space.map_param(TaParams(0, [Memref(mobj, 0, 2 * PAGE), None, None, None]))[0] + PAGE - 24
    state = room.op(AES_CBC, ENCRYPT)
    text = bytes(range(48))
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    expected = room.data(scn.TEE_SCN_CIPHER_UPDATE, state, text)[1]
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    room.put(va, text)
    room.put_size(48)
    assert room.call(scn.TEE_SCN_CIPHER_UPDATE, state, va, 48, va, SIZE) == OK
    assert room.get(va, 48) == expected


def test_a_mac_without_its_key(room: OpRoom) -> None:
    row = ALGORITHMS[cryp.TEE_ALG_HMAC_SHA256]
    state = room.op(row, MAC, room.empty(cryp.TEE_TYPE_HMAC_SHA256))
    assert room.init(row, state) == BAD


# --- ciphers ---------------------------------------------------------------------------------------------------------


@rows("cipher")
@pytest.mark.parametrize("mode", [SIGN, MAC, DIGEST, 7])
def test_a_cipher_in_another_mode(room: OpRoom, row: Algorithm, mode: int) -> None:
    assert room.init(row, room.op(row, mode), iv=bytes(iv_size(row))) == BAD


@rows("cipher")
def test_vectors_of_a_wrong_size(room: OpRoom, row: Algorithm) -> None:
    state = room.op(row, ENCRYPT)
    if "ECB" not in row.name:
        assert room.init(row, state, iv=bytes(7)) >= 0xF0000000
        assert room.init(row, state) >= 0xF0000000
    assert room.call(scn.TEE_SCN_CIPHER_INIT, state, AUX, PAGE + 1) == OOM
    assert room.call(scn.TEE_SCN_CIPHER_INIT, state, NOWHERE, 16) == DENIED
    assert room.data(scn.TEE_SCN_CIPHER_UPDATE, state, bytes(16))[0] == STATE


@rows("cipher")
def test_pieces_of_a_block(room: OpRoom, row: Algorithm) -> None:
    state = room.op(row, ENCRYPT)
    assert room.init(row, state, iv=bytes(iv_size(row))) == OK
    ret = room.data(scn.TEE_SCN_CIPHER_UPDATE, state, bytes(33))[0]
    assert ret == (OK if row.number == cryp.TEE_ALG_AES_CTR else BAD)
    assert room.init(row, state, iv=bytes(iv_size(row))) == OK
    ret = room.data(scn.TEE_SCN_CIPHER_FINAL, state, bytes(33))[0]
    bytewise = ("AES_CTR", "AES_XTS", "AES_CTS", "SM4_XTS")
    wanted = OK if row.name.endswith(bytewise) else UNSUPPORTED if row.name.endswith("SM4_CTR") else BAD
    assert ret == wanted
    assert room.data(scn.TEE_SCN_CIPHER_UPDATE, state, bytes(32))[0] == STATE, "it has ended"
    assert room.data(scn.TEE_SCN_CIPHER_FINAL, state, b"")[0] == OK


@rows("hash", "mac", "authenc")
def test_what_is_no_cipher_does_not_end_like_one(room: OpRoom, row: Algorithm) -> None:
    state = room.op(row, row.modes[0])
    assert room.init(row, state, iv=NONCE, payload=16) == OK
    for number in (scn.TEE_SCN_CIPHER_UPDATE, scn.TEE_SCN_CIPHER_FINAL):
        assert room.data(number, state, bytes(16))[0] == BAD
        assert room.data(number, state, b"")[0] == OK
    if row.provider == "authenc":
        assert room.data(scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, state, bytes(16))[0] == OK
    else:
        assert room.hash_final(state, bytes(16))[0] == OK


def test_keys_of_a_cipher_that_are_not_set(room: OpRoom) -> None:
    row = ALGORITHMS[cryp.TEE_ALG_AES_XTS]
    for keys in (
        (room.empty(cryp.TEE_TYPE_AES), room.key(cryp.TEE_TYPE_AES)),
        (room.key(cryp.TEE_TYPE_AES), room.empty(cryp.TEE_TYPE_AES)),
    ):
        assert room.init(row, room.op(row, ENCRYPT, *keys), iv=bytes(16)) == BAD


def test_too_little_room_for_ciphertext(room: OpRoom) -> None:
    state = room.op(AES_CBC, ENCRYPT)
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    for number in (scn.TEE_SCN_CIPHER_UPDATE, scn.TEE_SCN_CIPHER_FINAL):
        assert room.data(number, state, bytes(32), room=31)[0] == SHORT
        assert room.size() == 32
        assert room.call(number, state, IN, 16, IN, 0) == SHORT
    assert room.data(scn.TEE_SCN_CIPHER_UPDATE, state, bytes(32), room=64)[0] == OK
    assert room.size() == 32
    assert room.call(scn.TEE_SCN_CIPHER_UPDATE, state, 0, 0, 0, 0) == OK


def test_pointers_of_a_cipher(room: OpRoom) -> None:
    state = room.op(AES_CBC, ENCRYPT)
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    room.put_size(16)
    update = scn.TEE_SCN_CIPHER_UPDATE
    assert room.call(update, state, NOWHERE, 16, IN, SIZE) == DENIED
    assert room.call(update, state, 0, 16, IN, SIZE) == DENIED
    assert room.call(update, state, IN, 16, CODE, SIZE) == DENIED
    assert room.call(update, state, IN, 16, IN, NOWHERE) == DENIED
    assert room.call(update, state, CODE, 16, IN, SIZE) == OK, "code may be read"


def test_input_and_output_may_overlap(room: OpRoom) -> None:
    state = room.op(AES_CBC, ENCRYPT)
    text = bytes(range(64))
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    expected = room.data(scn.TEE_SCN_CIPHER_UPDATE, state, text)[1]
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    room.put(IN, text)
    room.put_size(64)
    assert room.call(scn.TEE_SCN_CIPHER_UPDATE, state, IN, 64, IN + 8, SIZE) == OK
    assert room.get(IN + 8, 64) == expected


# --- authenticated encryption ----------------------------------------------------------------------------------------


@rows("authenc")
def test_states_of_authenticated_encryption(room: OpRoom, row: Algorithm) -> None:
    state = room.op(row, ENCRYPT)
    room.put_size(16)
    assert room.data(scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, state, bytes(16))[0] == STATE
    assert room.init(row, state, iv=NONCE, payload=16) == OK
    assert room.call(scn.TEE_SCN_AUTHENC_DEC_FINAL, state, IN, 16, IN, SIZE, AUX, 16) == BAD
    assert room.data(scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, state, bytes(16))[0] == OK
    room.put_size(16)
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, 0, 0, 0, 0, AUX, SIZE) == OK
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, 0, 0, 0, 0, AUX, SIZE) == STATE, "it has ended"
    other = room.op(row, DECRYPT)
    assert room.init(row, other, iv=NONCE) == OK
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, other, 0, 0, 0, 0, AUX, SIZE) == BAD


def test_ciphers_are_no_authenticated_encryption(room: OpRoom) -> None:
    state = room.op(AES_CBC, ENCRYPT)
    assert room.call(scn.TEE_SCN_AUTHENC_INIT, state, AUX, 12, 16, 0, 0) == STATE
    assert room.init(AES_CBC, state, iv=bytes(16)) == OK
    for number in (scn.TEE_SCN_AUTHENC_UPDATE_AAD, scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, scn.TEE_SCN_AUTHENC_ENC_FINAL):
        assert room.call(number, state, 0, 0, 0, 0, 0, 0) == STATE


def test_too_little_room_for_payload(room: OpRoom) -> None:
    """As upstream, nobody is told how much is needed."""
    state = room.op(GCM, ENCRYPT)
    assert room.init(GCM, state, iv=NONCE) == OK
    assert room.data(scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, state, bytes(16), room=15)[0] == SHORT
    assert room.size() == 15
    room.put_size(99, SIZE + 8)
    args = (IN, 16, IN, SIZE, AUX, SIZE + 8)
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, *args) == SHORT
    assert room.get(SIZE, 16) == (15).to_bytes(8, "little") + bytes(8)
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, IN, 16, IN, 0, AUX, SIZE + 8) == SHORT


@pytest.mark.parametrize(("row", "told"), [(GCM, 15), (CCM, 16)], ids=["GCM", "CCM"])
def test_too_little_room_for_the_tag(room: OpRoom, row: Algorithm, told: int) -> None:
    """CCM says what it needs, and has the data encrypted by then; GCM neither. Both can be asked again."""
    text, tag = seal(room, row, [b""], [bytes(16)])
    state = room.op(row, ENCRYPT)
    assert room.init(row, state, iv=NONCE, payload=16) == OK
    room.put(IN, bytes(16))
    room.put_size(16)
    room.put_size(15, SIZE + 8)
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, IN, 16, OUT, SIZE, AUX, SIZE + 8) == SHORT
    assert room.get(SIZE + 8, 8) == told.to_bytes(8, "little")
    room.put_size(16, SIZE + 8)
    data = (IN, 16, OUT, SIZE) if row is GCM else (0, 0, 0, 0)
    assert room.call(scn.TEE_SCN_AUTHENC_ENC_FINAL, state, *data, AUX, SIZE + 8) == OK
    assert (room.get(OUT, 16), room.get(AUX, 16)) == (text, tag)


def test_pointers_of_authenticated_encryption(room: OpRoom) -> None:
    state = room.op(GCM, ENCRYPT)
    assert room.call(scn.TEE_SCN_AUTHENC_INIT, state, NOWHERE, 12, 16, 0, 0) == DENIED
    assert room.call(scn.TEE_SCN_AUTHENC_INIT, state, AUX, PAGE + 1, 16, 0, 0) == OOM
    assert room.init(GCM, state, iv=NONCE) == OK
    room.put_size(16)
    payload, final = scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD, scn.TEE_SCN_AUTHENC_ENC_FINAL
    assert room.call(scn.TEE_SCN_AUTHENC_UPDATE_AAD, state, NOWHERE, 1) == DENIED
    assert room.call(payload, state, NOWHERE, 1, IN, SIZE) == DENIED
    assert room.call(payload, state, IN, 1, IN, 0) == DENIED
    assert room.call(payload, state, IN, 1, CODE, SIZE) == DENIED
    assert room.call(final, state, IN, 1, CODE, SIZE, AUX, SIZE) == DENIED
    assert room.call(final, state, 0, 0, 0, 0, AUX, 0) == DENIED
    assert room.call(final, state, 0, 0, 0, 0, CODE, SIZE) == DENIED
    other = room.op(GCM, DECRYPT)
    assert room.init(GCM, other, iv=NONCE) == OK
    assert room.call(scn.TEE_SCN_AUTHENC_DEC_FINAL, other, 0, 0, 0, 0, NOWHERE, 16) == DENIED


@pytest.mark.parametrize(("row", "size", "ret"), [(GCM, 17, BAD), (CCM, 3, UNSUPPORTED), (CCM, 17, UNSUPPORTED)])
def test_tags_of_a_wrong_size(room: OpRoom, row: Algorithm, size: int, ret: int) -> None:
    assert room.init(row, room.op(row, ENCRYPT), iv=NONCE, tag=size) == ret


def test_a_tag_of_another_size_than_was_agreed(room: OpRoom) -> None:
    text, tag = seal(room, GCM, [b""], [b"secret"])
    assert open_(room, GCM, b"", text, tag[:15])[0] == MAC_INVALID
    assert open_(room, GCM, b"", text, tag + b"\0")[0] == MAC_INVALID
