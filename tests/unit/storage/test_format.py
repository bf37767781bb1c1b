"""What lies in the files is what OP-TEE puts there: the second decoder reads it, and so did OP-TEE's own code.

The directory ``golden`` was written by this file system, and read and changed by OP-TEE's hash tree, database and key
manager, compiled for this purpose. ``python test_format.py`` writes it again.
"""

import hmac
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from memory_files import HUK, OTHER_TA, TA, MemoryFiles, MemoryRee, Store
from memory_rpmb import CID, MemoryRpmb
from second_decoder import decode_all

from optemu.abi import gp
from optemu.board.board import Board
from optemu.board.config import Config
from optemu.secure_world.core.tee import _file_systems
from optemu.secure_world.crypto.huk_subkey import HUK_SUBKEY_RPMB, HUK_SUBKEY_SSK, huk_subkey_derive
from optemu.secure_world.storage.key_manager import KeyManager

GOLDEN = Path(__file__).parent / "golden"
OBJECTS = {(TA, b"first"): b"seven and more", (TA, b""): bytes(5000), (OTHER_TA, b"\xff" * 64): b""}


def in_memory(objects: dict[tuple[bytes, bytes], bytes]) -> dict[tuple[bytes, bytes], bytes]:
    return {(gp.uuid_to_memory(uuid), name): data for (uuid, name), data in objects.items()}


def golden() -> dict[bytes, bytes]:
    return {file.name.encode(): file.read_bytes() for file in GOLDEN.iterdir()}


def write_golden() -> Store:
    store = Store(seed=2026)
    for uuid, name in OBJECTS:
        store.put(b"an older version", name, uuid)
    for (uuid, name), data in OBJECTS.items():
        fh = store.open(name, uuid)
        store.truncate(fh, 0)
        store.write(fh, 0, data)
        store.close(fh)
    return store


def test_golden_directory_opens():
    assert Store(MemoryFiles(golden())).everything() == OBJECTS
    assert decode_all(golden(), HUK) == in_memory(OBJECTS)


def test_golden_directory_is_written():
    assert write_golden().files.snapshot() == golden()


@pytest.mark.parametrize("seed", range(6))
def test_second_decoder(seed):
    """After any changes: objects of up to 120 blocks, over the borders between groups of nodes."""
    pick, store, model = random.Random(seed), Store(seed=seed), {}
    for _ in range(25):
        key = (pick.choice([TA, OTHER_TA]), pick.choice([b"", b"a", b"b" * 64]))
        size, pos = pick.choice([0, 1, 4096, 60_000, 130_000, 260_000]), pick.choice([0, 5, 4096, 124_000, 250_000])
        data = pick.randbytes(size)
        if key not in model or pick.random() < 0.3:
            store.put(data, key[1], key[0])
            model[key] = data
            continue
        fh = store.open(key[1], key[0])
        if pick.random() < 0.5:
            store.truncate(fh, size)
            model[key] = model[key][:size].ljust(size, b"\0")
        elif data:
            store.write(fh, pos, data)
            model[key] = model[key][:pos].ljust(pos, b"\0") + data + model[key][pos + size :]
        store.close(fh)
        assert decode_all(store.files.snapshot(), HUK) == in_memory(model)


def test_keys_of_rpmb_blocks():
    """AES-CBC with ESSIV: block numbers count, and 16 bits of them."""
    keys = KeyManager(HUK)
    enc_fek, data = keys.encrypt_fek(TA, bytes(16)), bytes(256)
    blocks = {keys.encrypt_block(TA, data, n, enc_fek) for n in range(5)}
    assert len(blocks) == 5
    assert all(keys.decrypt_block(TA, keys.encrypt_block(TA, data, n, enc_fek), n, enc_fek) == data for n in range(5))
    assert keys.encrypt_block(TA, data, 1 << 16, enc_fek) == keys.encrypt_block(TA, data, 0, enc_fek)
    assert keys.decrypt_fek(OTHER_TA, enc_fek) != bytes(16)
    chip = KeyManager(HUK, b"\x01" * 32)
    assert chip.encrypt_fek(TA, bytes(16)) != enc_fek


def test_older_derivations():
    """CFG_CORE_HUK_SUBKEY_COMPAT: no usage for RPMB; chip id and a string for the storage key."""
    assert huk_subkey_derive(HUK, HUK_SUBKEY_RPMB, 32, b"cid") == hmac.digest(HUK, b"cid", "sha256")
    ssk = hmac.digest(HUK, b"BEEF" * 8 + b"ONLY_FOR_tee_fs_ssk\0", "sha256")
    assert huk_subkey_derive(HUK, HUK_SUBKEY_SSK, 32) == ssk


DIE_ID = bytes(range(100, 132))
SSK_MESSAGES = {
    "compat": b"BEEFBEEFBEEFBEEFBEEFBEEFBEEFBEEFONLY_FOR_tee_fs_ssk\0",
    "compat-die-id": DIE_ID + b"ONLY_FOR_tee_fs_ssk\0",
    "plain": b"\1\0\0\0",
}


@pytest.mark.parametrize("how", SSK_MESSAGES)
def test_how_a_board_derives_its_keys(how):
    """[board] huk_subkey, from the message of the HMAC to what is on the disk and in the device."""
    ssk = hmac.digest(HUK, SSK_MESSAGES[how], "sha256")
    tsk = hmac.digest(ssk, gp.uuid_to_memory(TA), "sha256")
    fek = bytes(range(16))
    board = Board(Config(huk=HUK, die_id=DIE_ID, huk_subkey=how, rpmb=True))
    ree_fs, rpmb_fs = _file_systems(board)
    assert ree_fs._keys.encrypt_fek(TA, fek) == Cipher(AES(tsk), ECB()).encryptor().update(fek)
    device = MemoryRpmb()
    rpmb_fs.mem_stats(MemoryRee(rpmb=device))
    known = CID[:9] + b"\0" + CID[10:15] + b"\0"
    assert device.key == hmac.digest(HUK, known if how != "plain" else bytes(4) + known, "sha256")
    board.power_off()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, data in write_golden().files.snapshot().items():
        (GOLDEN / name.decode()).write_bytes(data)
