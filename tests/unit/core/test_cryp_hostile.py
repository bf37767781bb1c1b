"""A TA that makes any call of operations with anything it has: each ends in a TEE_Result, none in an error of ours."""

from random import Random

import pytest
from obj_kit import CODE, NOWHERE, PAGE
from op_kit import AUX, IN, OUT, SIZE, OpRoom

from optemu.abi import cryp
from optemu.abi import syscalls as scn
from optemu.secure_world.crypto.algorithms import ALGORITHMS

ROWS = list(ALGORITHMS.values())
ATTRS = [v for name, v in vars(cryp).items() if "_ATTR_" in name and "_FLAG_" not in name]
WORDS = [0, 1, 16, 33, PAGE, IN, AUX, OUT, SIZE, CODE, NOWHERE, OUT + 4 * PAGE - 8, 1 << 31, 1 << 32, (1 << 64) - 1]
SOURCE, TARGET = (IN, 16), (OUT, SIZE)
SENSIBLE: dict[int, tuple[int, ...]] = {
    scn.TEE_SCN_HASH_UPDATE: SOURCE,
    scn.TEE_SCN_HASH_FINAL: SOURCE + TARGET,
    scn.TEE_SCN_CIPHER_UPDATE: SOURCE + TARGET,
    scn.TEE_SCN_CIPHER_FINAL: SOURCE + TARGET,
    scn.TEE_SCN_AUTHENC_UPDATE_AAD: SOURCE,
    scn.TEE_SCN_AUTHENC_UPDATE_PAYLOAD: SOURCE + TARGET,
    scn.TEE_SCN_AUTHENC_ENC_FINAL: (*SOURCE, *TARGET, AUX, SIZE),
    scn.TEE_SCN_AUTHENC_DEC_FINAL: (*SOURCE, *TARGET, AUX, 16),
    scn.TEE_SCN_ASYMM_OPERATE: (0, 0, *SOURCE, *TARGET),
    scn.TEE_SCN_ASYMM_VERIFY: (0, 0, *SOURCE, OUT, 64),
}
NUMBERS = [
    *SENSIBLE,
    scn.TEE_SCN_CRYP_STATE_ALLOC,
    scn.TEE_SCN_CRYP_STATE_COPY,
    scn.TEE_SCN_CRYP_STATE_FREE,
    scn.TEE_SCN_HASH_INIT,
    scn.TEE_SCN_CIPHER_INIT,
    scn.TEE_SCN_AUTHENC_INIT,
    scn.TEE_SCN_CRYP_DERIVE_KEY,
]


def attributes(rng: Random) -> dict[int, bytes | int]:
    """Up to four, of which hardly any two belong together."""
    values: dict[int, bytes | int] = {}
    for attr_id in rng.sample(ATTRS, rng.randrange(5)):
        is_number = attr_id & cryp.TEE_ATTR_FLAG_VALUE
        values[attr_id] = rng.choice([0, 1, 40, 0xFFFFFFFF]) if is_number else rng.randbytes(rng.choice([0, 1, 32, 56]))
    return values


@pytest.mark.parametrize("seed", range(4))
def test_calls_at_random(seed: int) -> None:
    rng, room = Random(seed), OpRoom()
    for _ in range(150):
        row = rng.choice(ROWS)
        mode = rng.choice(row.modes or (7,))
        room.try_alloc(row.number, mode, *room.keys(row, mode))
        state = next(iter(room.ta.cryp_states), 0)
        room.init(row, state, iv=rng.randbytes(rng.choice([0, 8, 12, 16])), payload=16, aad=16)
        for _ in range(10):
            count = room.put_values(attributes(rng))
            room.put_size(rng.choice([0, 16, 64, PAGE, 1 << 40]))
            number = rng.choice(NUMBERS)
            args = [state, *(SENSIBLE.get(number) or (*count, room.empty(cryp.TEE_TYPE_GENERIC_SECRET)))]
            if rng.randrange(4) == 0:
                args = [rng.choice([*WORDS, *room.ta.cryp_states, *room.ta.objs]) for _ in range(8)]
            ret = room.call(number, *args)
            assert ret == 0 or ret >= 0xF0000000
        room.ta.cryp_states.clear()
        room.ta.objs.clear()
