"""SM2: the examples of GM/T 0003.5, and what is refused."""

import pytest
from acipher_fakes import Real, Scripted, Seeded, code_of, flipped
from acipher_fakes import key as made_key
from hypothesis import given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import acipher
from optemu.secure_world.crypto.acipher import Sm2KepParms
from optemu.secure_world.crypto.curve import SM2
from optemu.secure_world.crypto.ecc import EcKey
from optemu.secure_world.crypto.sm2 import _z

ALGO = cryp.TEE_ALG_SM2_DSA_SM3
DSA, PKE = cryp.TEE_TYPE_SM2_DSA_KEYPAIR, cryp.TEE_TYPE_SM2_PKE_KEYPAIR
ID = b"1234567812345678"


def _key(d):
    d = int(d, 16)
    return EcKey(SM2, *SM2.multiply_base(d), d)


SIGNER = _key("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
E = bytes.fromhex("F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640")
K = bytes.fromhex("59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21")
SIG = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
SEALED = bytes.fromhex(
    "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
    "21886CA989CA9C7D58087307CA93092D651EFA"
    "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
)


def test_the_standards_signature():
    assert SIGNER.x == 0x09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020
    assert _z(ID, SIGNER).hex().upper() == "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
    assert acipher.ecc_sign(ALGO, SIGNER, E, Scripted(K)) == SIG
    acipher.ecc_verify(ALGO, SIGNER, E, SIG)


def test_the_standards_ciphertext():
    assert acipher.sm2_pke_encrypt(SIGNER, b"encryption standard", Scripted(K)) == SEALED
    assert acipher.sm2_pke_decrypt(SIGNER, SEALED) == b"encryption standard"


A, RA, B, RB = (
    _key("81EB26E941BB5AF16DF116495F90695272AE2CD63D6C4AE1678418BE48230029"),
    _key("D4DE15474DB74D06491C440D305E012400990F3E390C7E87153C12DB2EA60BB3"),
    _key("785129917D45A9EA5437A59356B82338EAADDA6CEB199088F14AE10DEFA229B5"),
    _key("7E07124814B309489125EAED101113164EBF0F3458C5BD88335C1F9D596243D6"),
)
SHARED = bytes.fromhex("6C89347354DE2484C60B4AB1FDE4C6E5")
OF_B = bytes.fromhex("D3A0FE15DEE185CEAE907A6B595CC32A266ED7B3367E9983A896DC32FA20F8EB")
OF_A = bytes.fromhex("18C7894B3816DF16CF07B05C5EC0BEF5D655D58F779CC1B400A4F3884644DB88")


def test_the_standards_key_exchange():
    assert acipher.sm2_kep_derive(A, RA, B, RB, Sm2KepParms(16, True, ID, ID, OF_B, True)) == (SHARED, OF_A)
    assert acipher.sm2_kep_derive(B, RB, A, RA, Sm2KepParms(16, False, ID, ID, OF_A, True)) == (SHARED, OF_B)
    longer, nothing = acipher.sm2_kep_derive(A, RA, B, RB, Sm2KepParms(100, True, ID, ID))
    assert longer[:16] == SHARED
    assert len(longer) == 100
    assert nothing is None


def test_a_key_exchange_that_fails():
    on_no_curve = EcKey(SM2, RB.x, RB.y + 1)
    negated = EcKey(SM2, B.x, SM2.p - B.y, 0)
    for parms, code in (
        (Sm2KepParms(16, True, ID, ID, flipped(OF_B, 9)), gp.TEE_ERROR_BAD_STATE),
        (Sm2KepParms(16, True, ID, b"other", OF_B), gp.TEE_ERROR_BAD_STATE),
        (Sm2KepParms(16, True, ID, ID, OF_B[:31]), gp.TEE_ERROR_BAD_PARAMETERS),
    ):
        assert code_of(acipher.sm2_kep_derive, A, RA, B, RB, parms) == code
    parms = Sm2KepParms(16, True, ID, ID)
    assert code_of(acipher.sm2_kep_derive, A, RA, B, on_no_curve, parms) == gp.TEE_ERROR_BAD_STATE
    assert acipher.sm2_kep_derive(A, RA, negated, RB, parms)[0] != SHARED


@given(bit=st.integers(0, 511), where=st.sampled_from(["digest", "signature"]))
@settings(max_examples=25)
def test_a_bit_flipped_is_no_signature(bit, where):
    args = (flipped(E, bit), SIG) if where == "digest" else (E, flipped(SIG, bit))
    assert code_of(acipher.ecc_verify, ALGO, SIGNER, *args) == gp.TEE_ERROR_SIGNATURE_INVALID


def test_signatures_out_of_range():
    n, r = SM2.n, int.from_bytes(SIG[:32], "big")
    for first, second in ((0, 1), (1, 0), (n, 1), (1, n), (r, n - r)):
        sig = first.to_bytes(32, "big") + second.to_bytes(32, "big")
        assert code_of(acipher.ecc_verify, ALGO, SIGNER, E, sig) == gp.TEE_ERROR_SIGNATURE_INVALID
    for size in (0, 63, 65):
        assert code_of(acipher.ecc_verify, ALGO, SIGNER, E, bytes(size)) == gp.TEE_ERROR_BAD_PARAMETERS
    odd = EcKey(SM2, 0, 0, n - 1)
    assert code_of(acipher.ecc_sign, ALGO, odd, E, Real()) == gp.TEE_ERROR_BAD_STATE


@given(message=st.binary(min_size=1, max_size=80), bit=st.integers(0, 2000))
@settings(max_examples=20)
def test_what_is_sealed_opens_and_nothing_else(message, bit):
    opener = made_key(PKE, 256)
    sealed = acipher.sm2_pke_encrypt(opener, message, Real())
    assert len(sealed) == len(message) + 97
    assert acipher.sm2_pke_decrypt(opener, sealed) == message
    refused = code_of(acipher.sm2_pke_decrypt, opener, flipped(sealed, bit))
    assert refused in (gp.TEE_ERROR_CIPHERTEXT_INVALID, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_NOT_SUPPORTED)


@pytest.mark.parametrize(
    ("sealed", "code"),
    [
        (b"", gp.TEE_ERROR_BAD_PARAMETERS),
        (SEALED[:64], gp.TEE_ERROR_BAD_PARAMETERS),
        (SEALED[:97], gp.TEE_ERROR_BAD_PARAMETERS),
        (b"\5" + SEALED[1:], gp.TEE_ERROR_BAD_PARAMETERS),
        (b"\2" + SEALED[1:], gp.TEE_ERROR_NOT_SUPPORTED),
        (b"\7" + SEALED[1:], gp.TEE_ERROR_NOT_SUPPORTED),
        (SEALED[:1] + bytes(64) + SEALED[65:], gp.TEE_ERROR_BAD_PARAMETERS),
        (SEALED[:-1], gp.TEE_ERROR_CIPHERTEXT_INVALID),
    ],
)
def test_ciphertexts_that_are_none(sealed, code):
    assert code_of(acipher.sm2_pke_decrypt, SIGNER, sealed) == code


def test_nothing_cannot_be_sealed():
    assert code_of(acipher.sm2_pke_encrypt, SIGNER, b"", Real()) == gp.TEE_ERROR_CIPHERTEXT_INVALID


def test_repeatable_bytes_make_repeatable_results():
    signer = made_key(DSA, 256)
    assert acipher.ecc_sign(ALGO, signer, E, Seeded()) == acipher.ecc_sign(ALGO, signer, E, Seeded())
    assert acipher.ecc_sign(ALGO, signer, E, Real()) != acipher.ecc_sign(ALGO, signer, E, Real())
    acipher.ecc_verify(ALGO, signer, E, acipher.ecc_sign(ALGO, signer, E, Seeded()))
