"""One vector: what is called and what must come of it; and the calls, whoever makes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Attrs = Mapping[int, bytes | int]
"""TEE_ATTR_* to octets, or to the first of the two numbers of a value."""


class Refused(Exception):
    """The TEE answered with something else than TEE_SUCCESS."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:08x}")
        self.code = code


class Calls(Protocol):
    """A TEE, an operation at a time. Sizes of keys are bits; all raise Refused."""

    def digest(self, algo: int, data: bytes, size: int) -> bytes: ...
    def mac(self, algo: int, key_type: int, key: bytes, data: bytes) -> bytes: ...
    def cipher(
        self, algo: int, mode: int, key_type: int, key: bytes, iv: bytes, data: bytes, key2: bytes = b""
    ) -> bytes: ...
    def seal(
        self, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag_len: int
    ) -> tuple[bytes, bytes]: ...
    def unseal(self, algo: int, key: bytes, nonce: bytes, aad: bytes, data: bytes, tag: bytes) -> bytes: ...
    def operate(
        self, algo: int, mode: int, key_type: int, size: int, attrs: Attrs, data: bytes, params: Attrs
    ) -> bytes:
        """TEE_AsymmetricEncrypt, Decrypt or SignDigest."""

    def verify(
        self, algo: int, key_type: int, size: int, attrs: Attrs, digest: bytes, signature: bytes, params: Attrs
    ) -> None: ...
    def derive(
        self,
        algo: int,
        key_type: int,
        size: int,
        attrs: Attrs,
        params: Attrs,
        out_size: int,
        attrs2: Attrs | None = None,
    ) -> bytes:
        """TEE_DeriveKey, with a second key if given; the secret, of an object for ``out_size`` octets."""


class Wrong(Exception):
    """The TEE's answer is not the vector's."""


Run = Callable[[Calls], None]


@dataclass(frozen=True, slots=True)
class Case:
    """``run`` raises Wrong; None: OP-TEE does not offer what this vector is about.

    ``differs`` is why OP-TEE's answer is another one than the vector's, and then that is what must come of it.
    """

    name: str
    run: Run | None
    differs: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A row of the table: vectors of one algorithm out of one source."""

    name: str
    source: str
    files: Sequence[str]
    """Patterns below the directory of vectors; none: ``cases`` are typed in."""
    cases: Callable[[Path], Iterator[Case]]
    stride: int = 1
    """Of a long list only every so manieth is run, unless all are asked for."""


def same(found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"{_shown(found)} instead of {_shown(wanted)}")


def refused(call: Callable[[], object]) -> None:
    try:
        found = call()
    except Refused:
        return
    raise Wrong(f"{_shown(found)} instead of a refusal")


def judged(result: str, call: Callable[[], object], wanted: object) -> None:
    """Wycheproof's word: valid, acceptable (either the right answer or none), invalid."""
    try:
        found = call()
    except Refused as refusal:
        if result == "valid":
            raise Wrong(f"refused with {refusal}") from None
        return
    if result == "invalid":
        raise Wrong(f"taken, and invalid: {_shown(found)}")
    same(found, wanted)


def _shown(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) < 80 else text[:76] + "..."
