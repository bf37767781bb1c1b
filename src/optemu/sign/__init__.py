"""Signing of TA images: what scripts/sign_encrypt.py does upstream."""

from optemu.sign.image import SIG_ALGOS, UnsignedImage, bootstrap_ta, sign_ta
from optemu.sign.keys import DEV_KEY, SignKeyError, load_private_key

__all__ = [
    "DEV_KEY",
    "SIG_ALGOS",
    "SignKeyError",
    "UnsignedImage",
    "bootstrap_ta",
    "load_private_key",
    "sign_ta",
]
