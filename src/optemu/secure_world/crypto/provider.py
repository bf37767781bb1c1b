"""What every provider of cryptography offers, and how it is asked. Mirrors core/include/crypto/crypto.h.

Bytes go in and bytes come out; nothing here knows a TA, a session or a pointer. Where a call cannot be served it
raises TeeError with the TEE_Result that upstream's crypto API returns.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
Attrs: TypeAlias = Mapping[int, bytes | bytearray | int]
"""TEE_ATTR_* to its value: big numbers as big-endian octets without leading zeros, secrets and the public and private
values of the Montgomery and Edwards curves as they are, numbers for the attributes that are values."""


class Rng(Protocol):
    """Where random bytes come from. The board's entropy source is one."""

    @property
    def repeatable(self) -> bool:
        """Must the same bytes give the same keys and signatures in every run? Then nothing else may be random."""

    def read(self, size: int) -> bytes: ...


class HashCtx(ABC):
    """A running digest (struct crypto_hash_ops). Made ready to take data."""

    digest_size: int
    """Octets of the digest; 0 when ``final`` gives as many as it is asked for."""

    @abstractmethod
    def update(self, data: Buffer) -> None: ...

    @abstractmethod
    def final(self, size: int = 0) -> bytes:
        """The whole digest; of an extendable-output function ``size`` octets, and the next ones at each call."""

    @abstractmethod
    def copy(self) -> "HashCtx": ...


class MacCtx(ABC):
    """A running MAC (struct crypto_mac_ops)."""

    digest_size: int

    @abstractmethod
    def update(self, data: Buffer) -> None: ...

    @abstractmethod
    def final(self) -> bytes:
        """The MAC. What was fed may not be of a length the algorithm cannot take: TEE_ERROR_BAD_STATE."""

    @abstractmethod
    def copy(self) -> "MacCtx": ...


class CipherCtx(ABC):
    """A running symmetric cipher (struct crypto_cipher_ops)."""

    block_size: int

    @abstractmethod
    def update(self, data: Buffer, last: bool) -> bytes:
        """As many octets as ``data`` has. TEE_ERROR_BAD_PARAMETERS for lengths the mode cannot take."""

    @abstractmethod
    def copy(self) -> "CipherCtx": ...


class AuthencCtx(ABC):
    """A running authenticated encryption or decryption (struct crypto_authenc_ops)."""

    tag_len: int

    @abstractmethod
    def update_aad(self, data: Buffer) -> None: ...

    @abstractmethod
    def update_payload(self, data: Buffer) -> bytes: ...

    @abstractmethod
    def enc_final(self, data: Buffer) -> tuple[bytes, bytes]:
        """(ciphertext of ``data``, tag)."""

    @abstractmethod
    def dec_final(self, data: Buffer, tag: Buffer) -> bytes:
        """Plaintext of ``data``; TeeError(TEE_ERROR_MAC_INVALID), and nothing, unless ``tag`` is right."""

    @abstractmethod
    def copy(self) -> "AuthencCtx": ...


HashFactory: TypeAlias = Callable[[], HashCtx]
MacFactory: TypeAlias = Callable[[Buffer], MacCtx]
"""key to context."""
CipherFactory: TypeAlias = Callable[[int, Buffer, Buffer, Buffer], CipherCtx]
"""TEE_MODE_ENCRYPT or TEE_MODE_DECRYPT, key, second key (XTS; else empty), initialization vector to context."""
AuthencFactory: TypeAlias = Callable[[int, Buffer, Buffer, int, int, int], AuthencCtx]
"""Mode, key, nonce, and the lengths of tag, additional data and payload in octets (the latter count for CCM)."""
