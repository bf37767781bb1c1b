"""optemu.toml: what this board is made of. Every key has a default; an unknown key is an error."""

import os
import tomllib
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path

from optemu.abi import gp
from optemu.abi.elf import ELFMAG
from optemu.abi.rpmb import RPMB_SIZE_SINGLE
from optemu.errors import explain

LOG_LEVELS = {"none": 0, "error": 1, "info": 2, "debug": 3, "flow": 4}


class ConfigError(ValueError):
    """Says which file, which key, and what would be right."""


@dataclass(slots=True)
class Config:
    """The board's settings, as in optemu.toml (flat tables ``[board]``, ``[tee]``, ``[normal_world]``)."""

    # [board]
    huk: bytes = bytes(16)
    """Hardware unique key, 16 bytes; zeros as on upstream's QEMU platform (core/kernel/otp_stubs.c)."""
    die_id: bytes = b"\xbe\xef" * 16
    """Die id, as upstream's default reads it."""
    huk_subkey: str = "compat"
    """How the keys of storage are derived from ``huk``: as upstream's default does, "compat-die-id" with the die id
    (CFG_CORE_HUK_SUBKEY_COMPAT_USE_OTP_DIE_ID), or "plain" as all other keys (CFG_CORE_HUK_SUBKEY_COMPAT=n)."""
    ta_class_key: bytes | None = None
    """Key of 32 bytes that TA images are encrypted with for a whole class of devices (SHDR_ENC_KEY_CLASS_WIDE)."""
    seed: int | None = None
    clock_offset: int = 0
    monitor: str = "armv8"
    tpm_event_log: Path | None = None
    """File with the event log that the firmware hands over (TCG PC Client format); none by default."""
    # [tee]
    threads: int = 4
    instances: int = 256
    """TA instances at a time, those kept for reuse included; each takes 3 MB and more of this host's memory."""
    log_level: str = "info"
    ta_keys: list[Path] = field(default_factory=list)
    """PEM files with public keys that TA images may be signed with, instead of the default ones."""
    early_tas: list[Path] = field(default_factory=list)
    """ELF files, UUID.elf or UUID.stripped.elf, that are built into the core as EARLY_TA_PATHS are upstream."""
    ta_aslr: bool = True
    """Load each image at an address drawn from the board's entropy."""
    ta_pauth: bool = False
    """A processor with pointer authentication; calls take several times as long."""
    rpmb_write_key: bool = True
    """CFG_RPMB_WRITE_KEY: program the key of an RPMB device that has none yet, by way of the supplicant."""
    ree_fs_integrity_rpmb: bool = False
    """CFG_REE_FS_INTEGRITY_RPMB: keep the root of the REE file system in RPMB, so that it cannot be rolled back."""
    ta_version_db_rpmb: bool = False
    """CFG_TA_VERSION_DB_RPMB: keep there, too, below which versions TAs and subkeys are refused."""
    # [normal_world]
    ta_dirs: list[Path] = field(default_factory=list)
    state: Path | None = None
    """What lasts; its ``tee`` is what a board has in /var/lib/tee. None: storage lasts for the run."""
    sync: bool = True
    """What is committed to ``state`` survives a power cut of this host."""
    plugin_dir: Path | None = None
    """Plugins of the supplicant: shared libraries of this host."""
    reg_mem: bool = False
    """Offer TEE_GEN_CAP_REG_MEM; without it clients share memory for real (SHM_ALLOC), with it by copying."""
    rpmb: bool = False
    """An eMMC with a replay protected memory block, and CFG_RPMB_FS for what the secure world keeps there."""
    rpmb_size: int = 256
    """KiB of it; a multiple of 128. As large as upstream's emulated one."""

    @property
    def rpmb_size_mult(self) -> int:
        """``rpmb_size`` as the device tells it, in units of 128 KiB."""
        return self.rpmb_size * 1024 // RPMB_SIZE_SINGLE

    def state_dir(self) -> Path:
        """Where the supplicant puts profiles; ``state`` itself is where storage lasts, if it is set."""
        return self.state or default_state()

    def trusted_keys(self) -> list[tuple[str, bytes]]:
        """(name, PEM) of every key an image may be signed with."""
        if self.ta_keys:
            return [(path.name, path.read_bytes()) for path in self.ta_keys]
        keys = resources.files("optemu.board").joinpath("keys")
        found = sorted((k for k in keys.iterdir() if k.name.endswith(".pem")), key=lambda k: k.name)
        return [(key.name, key.read_bytes()) for key in found]

    def early_ta_images(self) -> dict[bytes, bytes]:
        """UUID (16 octets) to ELF file of every early TA; ConfigError when a file is none, or its name no UUID."""
        found: dict[bytes, bytes] = {}
        for path in self.early_tas:
            try:
                uuid, image = gp.uuid_octets(path.name.partition(".")[0]), path.read_bytes()
            except ValueError:
                raise ConfigError(f"early TA {path}: the file's name must be UUID.elf or UUID.stripped.elf") from None
            except OSError as e:
                raise ConfigError(f"early TA {path}: {e.strerror}") from None
            if image[:4] != ELFMAG:
                raise ConfigError(f"early TA {path}: no ELF file; a signed image (UUID.ta) belongs into a ta_dir")
            if uuid in found:
                raise ConfigError(f"early TA {path}: there is another with this UUID")
            found[uuid] = image
        return found


def default_state() -> Path:
    """``$XDG_STATE_HOME/optemu``, by default ``~/.local/state/optemu``."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "optemu"


_TABLES = {
    "board": ("huk", "die_id", "huk_subkey", "seed", "clock_offset", "monitor", "ta_class_key", "tpm_event_log"),
    "tee": (
        "threads",
        "instances",
        "log_level",
        "ta_keys",
        "early_tas",
        "ta_aslr",
        "ta_pauth",
        "rpmb_write_key",
        "ree_fs_integrity_rpmb",
        "ta_version_db_rpmb",
    ),
    "normal_world": ("ta_dirs", "state", "sync", "plugin_dir", "reg_mem", "rpmb", "rpmb_size"),
}
# rpmb_size_mult is 1 to 128 in units of 128 KiB: a frame's address has 16 bits.
_RPMB_SIZES = range(128, 16384 + 1, 128)


def load(path: Path) -> Config:
    """Read ``path``; ConfigError names the file and the key that is wrong. Relative paths count from the file."""
    try:
        with path.open("rb") as f:
            document = tomllib.load(f)
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}") from e
    config = Config()
    for table, entries in document.items():
        known = _TABLES.get(table)
        if known is None or not isinstance(entries, dict):
            raise ConfigError(f"{path}: no table [{table}]; there are [{'], ['.join(_TABLES)}]")
        for key, value in entries.items():
            if key not in known:
                raise ConfigError(f"{path}: [{table}] has no key {key!r}; it has {', '.join(known)}")
            setattr(config, key, _convert(path, table, key, value))
    try:
        config.early_ta_images()
        _check_files(config)
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from None
    return config


def _check_files(config: Config) -> None:
    """What would be missed only when a client opens its device, and nobody can be told any more."""
    for key in ("ree_fs_integrity_rpmb", "ta_version_db_rpmb"):
        if getattr(config, key) and not config.rpmb:
            raise ConfigError(f"[tee] {key}: there is no RPMB; set [normal_world] rpmb = true")
    try:
        if config.tpm_event_log is not None:
            config.tpm_event_log.open("rb").close()
    except OSError as e:
        raise ConfigError(f"[board] tpm_event_log: {explain(e)}") from None
    try:
        if config.plugin_dir is not None:
            os.scandir(config.plugin_dir).close()
    except OSError as e:
        raise ConfigError(f"[normal_world] plugin_dir: {explain(e)}") from None


def _convert(path: Path, table: str, key: str, value: object) -> object:
    wrong = ConfigError(f"{path}: [{table}] {key} = {value!r}: expected {_EXPECTED[key]}")
    match key:
        case "huk" | "die_id" | "ta_class_key":
            try:
                raw = bytes.fromhex(value) if isinstance(value, str) else b""
            except ValueError:
                raise wrong from None
            if len(raw) != (16 if key == "huk" else 32):
                raise wrong
            return raw
        case "seed" | "clock_offset":
            if type(value) is int:
                return value
        case "threads":
            if type(value) is int and 1 <= value <= 256:
                return value
        case "instances":
            if type(value) is int and 1 <= value <= 65536:
                return value
        case "monitor":
            if value in ("armv8", "armv7"):
                return value
        case "huk_subkey":
            if value in ("compat", "compat-die-id", "plain"):
                return value
        case "log_level":
            if isinstance(value, str) and value in LOG_LEVELS:
                return value
        case "rpmb_size":
            if type(value) is int and value in _RPMB_SIZES:
                return value
        case _ if key in _SWITCHES:
            if isinstance(value, bool):
                return value
        case "state" | "plugin_dir" | "tpm_event_log":
            if isinstance(value, str):
                return path.parent / Path(value).expanduser()
        case "ta_dirs" | "ta_keys" | "early_tas":
            if isinstance(value, list) and all(isinstance(v, str) for v in value):
                return [path.parent / Path(v).expanduser() for v in value]
    raise wrong


_SWITCHES = {f.name for f in fields(Config) if isinstance(f.default, bool)}
_EXPECTED = {
    "huk": "32 hexadecimal digits",
    "die_id": "64 hexadecimal digits",
    "huk_subkey": '"compat", "compat-die-id" or "plain"',
    "ta_class_key": "64 hexadecimal digits",
    "seed": "a whole number",
    "clock_offset": "seconds, a whole number",
    "monitor": '"armv8" or "armv7"',
    "threads": "1 to 256",
    "instances": "1 to 65536",
    "log_level": '"' + '", "'.join(LOG_LEVELS) + '"',
    "ta_keys": "a list of PEM files",
    "early_tas": "a list of ELF files",
    "ta_dirs": "a list of directories",
    "state": "a directory",
    "plugin_dir": "a directory",
    "tpm_event_log": "a file",
    "rpmb_size": "KiB, a multiple of 128 up to 16384",
    **dict.fromkeys(_SWITCHES, "true or false"),
}
assert set(_EXPECTED) == {f.name for f in fields(Config)}
