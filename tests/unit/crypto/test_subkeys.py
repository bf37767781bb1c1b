"""Chains of subkeys: each signs the next, and narrows depth and name space."""

from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp, shdr
from optemu.errors import TeeError
from optemu.secure_world.crypto.signed_header import SignedImage, TrustedKey, TrustStore, verify_image, verify_subkeys
from optemu.secure_world.crypto.ta_enc import OtpKeys
from optemu.sign import SIG_ALGOS, UnsignedImage, bootstrap_ta, encrypt_ta, subkey_image

PAYLOAD = bytes(range(64))
TOP = gp.uuid_octets("f04fa996-148a-453c-b037-1dcfbad120a6")
PSS = SIG_ALGOS["pss"]


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024 if name == "weak" else 2048)


def trust(*names: str) -> TrustStore:
    return TrustStore([TrustedKey(n, key(n).public_key()) for n in names or ("root",)], OtpKeys(bytes(16)))


class Chain:
    """An image in the making: what stands in front, and what must come next."""

    def __init__(self, signer: str = "root") -> None:
        self.front, self.signer, self.expected = b"", signer, TOP
        self.names: list[range] = []

    def below(self, who: str, depth: int, name: str = "", room: int = 0, *, uuid: bytes = b"") -> "Chain":
        """One more subkey, with ``room`` for names, and the name that it gives."""
        bits, public = key(self.signer).key_size, key(who).public_key()
        unsigned = subkey_image(public, uuid or self.expected, bits, PSS, version=3, max_depth=depth, name_size=room)
        raw = unsigned.under(self.front).sign(key(self.signer))
        subkey = list(shdr.parse_image(raw))[-1].subkey  # type: ignore[union-attr]
        field = name.encode().ljust(room, b"\0")
        self.names.append(range(len(raw), len(raw) + len(field)))
        self.front, self.signer, self.expected = raw + field, who, subkey.next_uuid(field)
        return self

    def ta(self, uuid: bytes = b"") -> bytes:
        bits = key(self.signer).key_size
        unsigned = bootstrap_ta(PAYLOAD, uuid or self.expected, bits, PSS, 5)
        return unsigned.under(self.front).sign(key(self.signer))


def named() -> Chain:
    return Chain().below("top", 4, "mid_level", 16).below("mid", 3, "ta", 4)


def believed(image: bytes, store: TrustStore | None = None) -> SignedImage:
    return verify_image(image, store or trust())


def refused(image: bytes, store: TrustStore | None = None, uuid: bytes | None = None) -> str:
    with pytest.raises(TeeError) as caught:
        verify_image(image, store or trust(), uuid)
    assert caught.value.code == gp.TEE_ERROR_SECURITY
    return str(caught.value)


def test_names() -> None:
    chain = named()
    image = chain.ta()
    found = believed(image)
    assert (found.uuid, found.key, bytes(found.payload)) == (chain.expected, "root", PAYLOAD)
    top, mid = found.subkeys
    assert (top.uuid, top.version, top.max_depth, top.next_uuid) == (TOP, 3, 4, mid.uuid)
    assert (mid.max_depth, mid.next_uuid) == (3, found.uuid)
    assert found.ta_version == 5
    assert verify_image(image, trust(), chain.expected)
    assert "not 00000000" in refused(image, uuid=bytes(16))


def test_identity() -> None:
    """A subkey without names hands its own UUID on, to another and to the TA."""
    found = believed(Chain().below("a", 1).below("b", 0).ta())
    assert [s.uuid for s in found.subkeys] == [TOP, TOP]
    assert found.uuid == TOP


def test_a_weak_subkey() -> None:
    """Upstream looks at the size of the root key only; who has that answers for the rest."""
    assert believed(Chain().below("weak", 0).ta()).subkeys[0].key.key.key_size == 1024


def test_a_subkey_vouches_in_its_place_only() -> None:
    """Not as a root key, not for what another signed, not once the root key is gone."""
    image = named().ta()
    assert believed(image, store := trust("root"))
    alone = image[-(len(PAYLOAD) + 20 + 256 + 32 + 20) :]
    assert "no trusted key" in refused(alone, store)
    assert "no trusted key" in refused(image, trust("other"))
    chain = named()
    chain.signer = "other"
    assert "has not made the 2048-bit signature of the SHDR_BOOTSTRAP_TA" in refused(chain.ta(), store)
    chain = named()
    chain.signer = "top"
    assert "subkey " in refused(chain.ta(), store)


def test_name_space() -> None:
    chain = named()
    stranger = bytes(range(16))
    why = refused(chain.ta(stranger))
    assert gp.uuid_str(stranger) in why
    assert gp.uuid_str(chain.expected) in why
    assert "'ta'" in why
    assert "not in the name space" in refused(Chain().below("top", 4, "x", 4).below("mid", 3, uuid=stranger).ta())
    assert "not in the name space" in refused(Chain().below("top", 1).ta(stranger))


@pytest.mark.parametrize(("above", "below"), [(4, 4), (4, 5), (0, 0), (1, 1)])
def test_depth(above: int, below: int) -> None:
    assert "--max-depth" in refused(Chain().below("a", above).below("b", below).ta())


def test_depth_of_the_first_subkey() -> None:
    assert believed(Chain().below("a", 0xFFFFFFFE).ta())
    assert "--max-depth" in refused(Chain().below("a", 0xFFFFFFFF).ta())


def test_every_flipped_bit_of_every_byte_is_refused() -> None:
    """But for what follows the NUL of a name: nothing covers that, here as upstream."""
    chain = named()
    image, store = bytearray(chain.ta()), trust()
    free = {at for field, name in zip(chain.names, ("mid_level", "ta"), strict=True) for at in field[len(name) + 1 :]}
    assert len(free) == 7
    for at in range(len(image)):
        for bit in (1, 0x80):
            image[at] ^= bit
            if at in free:
                assert believed(bytes(image), store)
            else:
                refused(bytes(image), store)
            image[at] ^= bit
    assert believed(bytes(image), store)


def test_truncated_anywhere() -> None:
    image, store = named().ta(), trust()
    for size in range(len(image)):
        refused(image[:size], store)
    refused(image + b"\0", store)


def test_subkeys_alone() -> None:
    chain = Chain().below("top", 4, "mid", 8)
    file = chain.front[:-8]
    assert [s.uuid for s in verify_subkeys(file, trust())] == [TOP]
    assert "no TA in it" in refused(file)
    assert "no TA in it" in refused(chain.front)
    with pytest.raises(TeeError, match="not subkeys alone"):
        verify_subkeys(chain.ta(), trust())


def body(algo: int = PSS, attrs: tuple[tuple[int, int, int], ...] = (), tail: bytes = b"") -> UnsignedImage:
    fixed = shdr.SHDR_SUBKEY_HDR.pack(TOP, 0, 0, 0, algo, len(attrs))
    table = b"".join(shdr.SHDR_SUBKEY_ATTR.pack(*a) for a in attrs)
    return UnsignedImage(shdr.SHDR_SUBKEY, PSS, 256, b"", fixed + table + tail)


N, E = shdr.TEE_ATTR_RSA_MODULUS, shdr.TEE_ATTR_RSA_PUBLIC_EXPONENT
MODULUS = (1 << 2047 | 1).to_bytes(256, "big")


@pytest.mark.parametrize(
    "unsigned",
    [
        body(),
        body(0x70004131),
        body(attrs=((N, 60, 256),), tail=MODULUS),
        body(attrs=((N, 60, 256), (E, 60, 0)), tail=MODULUS),
        body(attrs=((N, 60, 256), (E, 60, 256)), tail=MODULUS),
        body(attrs=((N, 60, 256), (E, 0, 0xFFFFFFFF)), tail=MODULUS),
        body(attrs=((N, 0xFFFFFFFF, 2), (E, 60, 1)), tail=MODULUS),
        UnsignedImage(shdr.SHDR_SUBKEY, PSS, 256, b"", b"short"),
    ],
)
def test_no_rsa_key_in_it(unsigned: UnsignedImage) -> None:
    refused(unsigned.sign(key("root")) + Chain().below("a", 0).ta())


@given(st.binary(max_size=120))
def test_any_subkey_that_is_well_signed(raw: bytes) -> None:
    refused(UnsignedImage(shdr.SHDR_SUBKEY, PSS, 256, b"", raw).sign(key("root")) + b"more")


@given(n=st.binary(min_size=1, max_size=300), e=st.binary(max_size=300), sig_size=st.integers(0, 300))
def test_any_key_in_a_subkey(n: bytes, e: bytes, sig_size: int) -> None:
    """Nonsense as a key is an answer, whatever its arithmetic would be."""
    attrs = ((N, 60, len(n)), (E, 60 + len(n), len(e)))
    front = body(attrs=attrs, tail=n + e).sign(key("root"))
    ta = bootstrap_ta(PAYLOAD, TOP, 8 * sig_size, PSS).stitch(bytes(sig_size))
    refused(front + ta)


@given(st.data())
def test_any_changes(data: st.DataObject) -> None:
    chain = named()
    image = chain.ta()
    at = data.draw(st.integers(0, len(image) - 1))
    new = data.draw(st.binary(min_size=1, max_size=16))
    changed = image[:at] + new + image[at + len(new) :]
    try:
        found = believed(changed)
    except TeeError as e:
        assert e.code == gp.TEE_ERROR_SECURITY
    else:
        assert (found.uuid, bytes(found.payload)) == (chain.expected, PAYLOAD)


def test_encrypted_below_a_subkey() -> None:
    """The device key is that of the root key, not of the subkey."""
    chain = named()
    otp = OtpKeys(bytes(16))
    root = TrustedKey("root", key("root").public_key())
    plain = bootstrap_ta(PAYLOAD, chain.expected, 2048, PSS)
    image = encrypt_ta(plain, otp(shdr.SHDR_ENC_KEY_DEV_SPECIFIC, root.modulus)).under(chain.front)
    assert believed(image.sign(key(chain.signer))).payload == PAYLOAD
