"""Points on the curves y**2 = x**3 + a x + b that upstream knows: NIST's of 192 to 521 bits, and SM2's.

Mirrors core/lib/libtomcrypt/src/pk/ecc/ltc_ecc_*.c. OpenSSL multiplies NIST's base points; what it does not do (SM2,
and points that are on no curve at all, for which upstream's formulas give some answer too) is done here.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.crypto.number import byte_length, inverse

Point: TypeAlias = tuple[int, int] | None
"""x and y; None is the point at infinity."""
_Jacobian: TypeAlias = tuple[int, int, int]
"""x / z**2 and y / z**3; z is 0 at infinity."""
_INFINITY: Final = (1, 1, 0)
_WINDOW: Final = 4


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve over the numbers modulo ``p``; its base point has the prime order ``n``."""

    name: str
    bits: int
    p: int
    a: int
    b: int
    base: tuple[int, int]
    n: int
    native: ec.EllipticCurve | None = None

    @property
    def size(self) -> int:
        """Octets of a coordinate, and of a number below ``n``."""
        return byte_length(self.p)

    def contains(self, x: int, y: int) -> bool:
        in_field = 0 <= x < self.p and 0 <= y < self.p and (x, y) != (0, 0)
        return in_field and (y * y - x * x * x - self.a * x - self.b) % self.p == 0

    def multiply(self, k: int, point: Point) -> Point:
        """``k`` times ``point``, which need not be on the curve."""
        return self._affine(self._multiply(k, point))

    def multiply_base(self, k: int) -> tuple[int, int]:
        """``k`` times the base point; 0 < ``k`` < n, so it is never at infinity."""
        if self.native:
            public = ec.derive_private_key(k, self.native).public_key().public_numbers()
            return public.x, public.y
        point = self.multiply(k, self.base)
        assert point
        return point

    def multiply_add(self, k: int, first: Point, m: int, second: Point) -> Point:
        """``k`` times ``first`` + ``m`` times ``second``."""
        return self._affine(self._add(self._multiply(k, first), self._multiply(m, second)))

    def _multiply(self, k: int, point: Point) -> _Jacobian:
        result: _Jacobian = _INFINITY
        if point is None or not k:
            return result
        multiples: list[_Jacobian] = [_INFINITY, (point[0] % self.p, point[1] % self.p, 1)]
        for _ in range(2, 1 << _WINDOW):
            multiples.append(self._add(multiples[-1], multiples[1]))
        for shift in range((k.bit_length() - 1) // _WINDOW * _WINDOW, -1, -_WINDOW):
            for _ in range(_WINDOW):
                result = self._double(result)
            result = self._add(result, multiples[k >> shift & (1 << _WINDOW) - 1])
        return result

    def _double(self, point: _Jacobian) -> _Jacobian:
        x, y, z = point
        p = self.p
        if not y or not z:
            return _INFINITY
        yy = y * y % p
        s = 4 * x * yy % p
        zz = z * z % p
        m = (3 * x * x + self.a * zz * zz) % p
        x3 = (m * m - 2 * s) % p
        return x3, (m * (s - x3) - 8 * yy * yy) % p, 2 * y * z % p

    def _add(self, first: _Jacobian, second: _Jacobian) -> _Jacobian:
        x1, y1, z1 = first
        x2, y2, z2 = second
        p = self.p
        if not z1:
            return second
        if not z2:
            return first
        z1z1, z2z2 = z1 * z1 % p, z2 * z2 % p
        u1, u2 = x1 * z2z2 % p, x2 * z1z1 % p
        s1, s2 = y1 * z2z2 * z2 % p, y2 * z1z1 * z1 % p
        if u1 == u2:
            return self._double(first) if s1 == s2 else _INFINITY
        h, r = u2 - u1, s2 - s1
        hh = h * h % p
        hhh, v = h * hh % p, u1 * hh % p
        x3 = (r * r - hhh - 2 * v) % p
        return x3, (r * (v - x3) - s1 * hhh) % p, z1 * z2 * h % p

    def _affine(self, point: _Jacobian) -> Point:
        x, y, z = point
        if not z:
            return None
        inverted = inverse(z, self.p)
        squared = inverted * inverted % self.p
        return x * squared % self.p, y * squared * inverted % self.p


def _nist(bits: int, p: int, b: str, x: str, y: str, n: str, native: ec.EllipticCurve) -> Curve:
    return Curve(f"P-{bits}", bits, p, p - 3, int(b, 16), (int(x, 16), int(y, 16)), int(n, 16), native)


_SM2_P: Final = 2**256 - 2**224 - 2**96 + 2**64 - 1
_CURVES: Final = {
    cryp.TEE_ECC_CURVE_NIST_P192: _nist(
        192,
        2**192 - 2**64 - 1,
        "64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1",
        "188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012",
        "07192b95ffc8da78631011ed6b24cdd573f977a11e794811",
        "ffffffffffffffffffffffff99def836146bc9b1b4d22831",
        ec.SECP192R1(),
    ),
    cryp.TEE_ECC_CURVE_NIST_P224: _nist(
        224,
        2**224 - 2**96 + 1,
        "b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4",
        "b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21",
        "bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34",
        "ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d",
        ec.SECP224R1(),
    ),
    cryp.TEE_ECC_CURVE_NIST_P256: _nist(
        256,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        ec.SECP256R1(),
    ),
    cryp.TEE_ECC_CURVE_NIST_P384: _nist(
        384,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
        "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
        "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        ec.SECP384R1(),
    ),
    cryp.TEE_ECC_CURVE_NIST_P521: _nist(
        521,
        2**521 - 1,
        "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf07"
        "3573df883d2c34f1ef451fd46b503f00",
        "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de"
        "3348b3c1856a429bf97e7e31c2e5bd66",
        "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761"
        "353c7086a272c24088be94769fd16650",
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d0"
        "3bb5c9b8899c47aebb6fb71e91386409",
        ec.SECP521R1(),
    ),
    cryp.TEE_ECC_CURVE_SM2: Curve(
        "SM2",
        256,
        _SM2_P,
        _SM2_P - 3,
        0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93,
        (
            0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
            0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
        ),
        0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123,
    ),
}
SM2: Final = _CURVES[cryp.TEE_ECC_CURVE_SM2]


def curve_of(curve_id: int) -> Curve:
    """TEE_ECC_CURVE_* to the curve; TEE_ERROR_NOT_SUPPORTED for the others."""
    if curve_id not in _CURVES:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"no curve {curve_id:#x}")
    return _CURVES[curve_id]
