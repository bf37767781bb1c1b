"""Files of the REE file system, decoded a second time: with the offsets of OP-TEE's structures, and nothing of ours."""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")


def fek(enc_fek: bytes, huk: bytes, owner: bytes) -> bytes:
    """``owner``: struct TEE_UUID, or one zero octet."""
    ssk = hmac.digest(huk, b"BEEF" * 8 + b"ONLY_FOR_tee_fs_ssk\0", "sha256")
    tsk = hmac.digest(ssk, owner, "sha256")
    return Cipher(algorithms.AES256(tsk), modes.ECB()).decryptor().update(enc_fek)


def node_at(num: int, vers: int) -> int:
    return 4096 * (1 + 62 * (num // 31)) + 132 * (num % 31) + 66 * vers


def block_at(num: int, vers: int) -> int:
    copies_before = 2 * num + vers
    return 4096 * (2 + copies_before + copies_before // 61)


def decode(raw: bytes, huk: bytes, owner: bytes, root_hash: bytes | None = None) -> bytes:
    """The data of the file ``raw``; AssertionError, InvalidTag when anything in it is not right."""
    roots = [raw[node_at(0, v) :][:32] for v in (0, 1)]
    if root_hash is None:
        vers = int(u32(raw, 68 + 64) > u32(raw, 64))
    else:
        vers = roots.index(root_hash)
    head = raw[68 * vers :][:68]
    iv, tag, enc_fek, imeta = head[:16], head[16:32], head[32:48], head[48:64]
    assert u32(head, 64) % 2 == vers
    gcm = AESGCM(fek(enc_fek, huk, owner))
    meta = gcm.decrypt(iv, imeta + tag, roots[vers][:16] + head[64:68] + enc_fek + iv)
    length, last = int.from_bytes(meta[:8], "little"), u32(meta, 8) or 1
    nodes = {1: raw[node_at(0, vers) :][:66]}
    for n in range(2, last + 1):
        flags = nodes[n // 2][64]
        nodes[n] = raw[node_at(n - 1, flags >> 1 + n % 2 & 1) :][:66]
    for n, node in nodes.items():
        children = b"".join(nodes[c][:32] for c in (2 * n, 2 * n + 1) if c in nodes)
        own = meta[:8] if n == 1 else b""
        assert hashlib.sha256(node[32:] + own + children).digest() == node[:32], f"node {n}"
    data = b""
    for num in range(-(-length // 4096)):
        node = nodes[num + 1]
        crypt = raw[block_at(num, node[64] & 1) :][:4096]
        data += gcm.decrypt(node[32:48], crypt + node[48:64], enc_fek + node[32:48])
    return data[:length]


def decode_all(files: dict[bytes, bytes], huk: bytes) -> dict[tuple[bytes, bytes], bytes]:
    """All objects in a directory: (struct TEE_UUID, identifier) to data."""
    found = {}
    entries = decode(files[b"dirf.db"], huk, b"\0")
    for at in range(0, len(entries), 120):
        uuid, oid, oid_len = entries[at : at + 16], entries[at + 16 : at + 80], u32(entries, at + 80)
        if oid_len or oid[0]:
            number, root_hash = u32(entries, at + 116), entries[at + 84 : at + 116]
            found[uuid, oid[:oid_len]] = decode(files[f"{number:x}".encode()], huk, uuid, root_hash)
    return found
