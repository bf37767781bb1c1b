"""RPMB frames by an encoder of the tests' own, from JEDEC JESD84-B51, and nothing of optemu."""

import hashlib
import hmac

KEY_PROGRAM, COUNTER, WRITE, READ, RESULT = 1, 2, 3, 4, 5
STUFF, MAC, DATA, NONCE = 196, 32, 256, 16


def frame(kind, *, mac=b"", data=b"", nonce=b"", counter=0, address=0, count=0, result=0):
    out = bytearray(512)
    out[196 : 196 + len(mac)] = mac
    out[228 : 228 + len(data)] = data
    out[484 : 484 + len(nonce)] = nonce
    out[500:504] = counter.to_bytes(4, "big")
    out[504:506] = address.to_bytes(2, "big")
    out[506:508] = count.to_bytes(2, "big")
    out[508:510] = result.to_bytes(2, "big")
    out[510:512] = kind.to_bytes(2, "big")
    return bytes(out)


def mac(key, frames):
    running = hmac.new(key, digestmod=hashlib.sha256)
    for one in frames:
        running.update(one[228:])
    return running.digest()


def signed(key, frames):
    """``frames`` with their MAC in the last."""
    last = bytearray(frames[-1])
    last[196:228] = mac(key, frames)
    return [*frames[:-1], bytes(last)]


def write(key, address, blocks, counter, **fields):
    fields = {"count": len(blocks), "address": address, "counter": counter, **fields}
    return signed(key, [frame(WRITE, data=block, **fields) for block in blocks])


def parse(raw):
    assert len(raw) == 512
    number = lambda at, size: int.from_bytes(raw[at : at + size], "big")  # noqa: E731
    return {
        "mac": raw[196:228],
        "data": raw[228:484],
        "nonce": raw[484:500],
        "counter": number(500, 4),
        "address": number(504, 2),
        "count": number(506, 2),
        "result": number(508, 2),
        "kind": number(510, 2),
    }
