"""Signing of TA images: what scripts/sign_encrypt.py does upstream."""

from optemu.sign.display import display_image
from optemu.sign.image import SIG_ALGOS, SignError, UnsignedImage, bootstrap_ta, encrypt_ta, sign_ta
from optemu.sign.keys import DEV_KEY, SignKeyError, load_private_key, load_public_key
from optemu.sign.subkey import SubkeyFile, depth_below, parse_subkeys, subkey_image

__all__ = [
    "DEV_KEY",
    "SIG_ALGOS",
    "SignError",
    "SignKeyError",
    "SubkeyFile",
    "UnsignedImage",
    "bootstrap_ta",
    "depth_below",
    "display_image",
    "encrypt_ta",
    "load_private_key",
    "load_public_key",
    "parse_subkeys",
    "sign_ta",
    "subkey_image",
]
