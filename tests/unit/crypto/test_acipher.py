"""Keys of any type from attributes of any kind: an answer or a TEE_Result, never anything else."""

import inspect

import pytest
from acipher_fakes import Real, Seeded, code_of
from hypothesis import given, settings
from hypothesis import strategies as st

from optemu.abi import cryp, gp
from optemu.secure_world.crypto import acipher, dh, dsa, ecc, ed25519, montgomery, rsa

NAMES = cryp.names("TEE_ALG_")
ATTRS = {attr: name for attr, name in cryp.names("TEE_ATTR_").items() if "FLAG" not in name}
BITS = {
    cryp.TEE_TYPE_RSA_KEYPAIR: 512,
    cryp.TEE_TYPE_X448_KEYPAIR: 448,
    **dict.fromkeys(
        (
            cryp.TEE_TYPE_ECDSA_KEYPAIR,
            cryp.TEE_TYPE_ECDH_KEYPAIR,
            cryp.TEE_TYPE_SM2_DSA_KEYPAIR,
            cryp.TEE_TYPE_SM2_KEP_KEYPAIR,
            cryp.TEE_TYPE_SM2_PKE_KEYPAIR,
            cryp.TEE_TYPE_ED25519_KEYPAIR,
            cryp.TEE_TYPE_X25519_KEYPAIR,
            cryp.TEE_TYPE_DSA_KEYPAIR,
            cryp.TEE_TYPE_DH_KEYPAIR,
        ),
        256,
    ),
}
GROUP = {
    cryp.TEE_ATTR_DSA_PRIME: b"\xff" * 32,
    cryp.TEE_ATTR_DSA_SUBPRIME: b"\xfb" * 20,
    cryp.TEE_ATTR_DSA_BASE: b"\3",
    cryp.TEE_ATTR_DH_PRIME: b"\xff" * 32,
    cryp.TEE_ATTR_DH_BASE: b"\3",
    cryp.TEE_ATTR_ECC_CURVE: cryp.TEE_ECC_CURVE_NIST_P256,
}


def test_every_type_is_here():
    assert set(BITS) == set(acipher._TYPES)


@pytest.mark.parametrize("object_type", BITS)
@pytest.mark.parametrize("rng", [Real(), Seeded()], ids=["real", "seeded"])
def test_every_type_is_made_and_loaded(object_type, rng):
    made = acipher.generate_key(object_type, BITS[object_type], GROUP, rng)
    assert all(attr in ATTRS for attr in made)
    assert acipher.load_key(object_type, GROUP | made)


@pytest.mark.parametrize("object_type", BITS)
def test_keys_show_no_secrets(object_type):
    made = GROUP | acipher.generate_key(object_type, BITS[object_type], GROUP, Seeded())
    secrets = [octets for attr, octets in made.items() if not attr & cryp.TEE_ATTR_FLAG_PUBLIC]
    shown = repr(acipher.load_key(object_type, made))
    assert secrets
    assert not any(str(int.from_bytes(octets, "big")) in shown or repr(octets) in shown for octets in secrets)


def _calls(key, data):
    """Every operation that takes this kind of key, with every algorithm where it takes one."""
    rng, short = Real(), data[:20]
    parms = acipher.Sm2KepParms(9, True, short, data, data, True)
    if isinstance(key, rsa.RsaKey):
        yield from ((call, (key, data)) for call in (acipher.rsanopad_encrypt, acipher.rsanopad_decrypt))
        for algo in NAMES:
            yield acipher.rsaes_encrypt, (algo, key, short, 0, short, rng)
            yield acipher.rsaes_decrypt, (algo, key, short, cryp.TEE_ALG_SHA1, data)
            yield acipher.rsassa_sign, (algo, key, len(data), short, rng)
            yield acipher.rsassa_verify, (algo, key, len(data), short, data)
    elif isinstance(key, dsa.DsaKey):
        for algo in NAMES:
            yield acipher.dsa_sign, (algo, key, short, rng)
            yield acipher.dsa_verify, (algo, key, short, data)
    elif isinstance(key, ecc.EcKey):
        for algo in NAMES:
            yield acipher.ecc_sign, (algo, key, short, rng)
            yield acipher.ecc_verify, (algo, key, short, data)
        yield acipher.ecc_shared_secret, (key, short, data)
        yield acipher.sm2_pke_encrypt, (key, short, rng)
        yield acipher.sm2_pke_decrypt, (key, data)
        yield acipher.sm2_kep_derive, (key, key, key, key, parms)
    elif isinstance(key, ed25519.Ed25519Key):
        for prehash in (False, True):
            yield acipher.ed25519_verify, (key, short, data, prehash, short)
            if key.private:
                yield acipher.ed25519_sign, (key, short, prehash, data)
    elif isinstance(key, dh.DhKey):
        yield acipher.dh_shared_secret, (key, data)
    elif isinstance(key, montgomery.X25519Key):
        yield acipher.x25519_shared_secret, (key, data)
    else:
        yield acipher.x448_shared_secret, (key, data)


CODES = {value for name, value in vars(gp).items() if name.startswith("TEE_ERROR_")}
VALUES = st.one_of(
    st.binary(max_size=3), st.binary(min_size=20, max_size=70), st.just(bytes(32)), st.just(b"\xff" * 512)
)


@given(
    object_type=st.sampled_from([*BITS, *(each & ~(1 << 24) for each in BITS)]),
    values=st.lists(VALUES, min_size=3, max_size=12),
    curve=st.sampled_from([0, 1, 2, 3, 4, 5, 0x300, 0x400]),
    data=st.binary(max_size=150),
)
@settings(max_examples=150)
def test_attributes_of_any_kind(object_type, values, curve, data):
    family = [attr for attr in ATTRS if attr & 0xFF == object_type & 0xFF or attr & 0xFF in (0x41, 0x43, 0x44)]
    attrs = dict(zip(family, values, strict=False)) | {cryp.TEE_ATTR_ECC_CURVE: curve}
    made = []
    code = code_of(lambda: made.append(acipher.load_key(object_type, attrs)))
    assert code is None or code in CODES
    for key in made:
        for call, args in _calls(key, data):
            code = code_of(call, *args)
            assert code is None or code in CODES
    made = code_of(acipher.generate_key, object_type, 8 * len(values[0]), attrs, Real())
    assert made is None or made in CODES


def test_nothing_at_all():
    for object_type in BITS:
        assert code_of(acipher.load_key, object_type, {}) in (
            None,
            gp.TEE_ERROR_BAD_PARAMETERS,
            gp.TEE_ERROR_NOT_SUPPORTED,
        )


def test_every_call_has_upstreams_name_and_words():
    for name in acipher.__all__:
        assert inspect.getdoc(getattr(acipher, name)), name
