"""The numbers in the TA's headers are those of abi, and none is missing on either side."""

import re
from types import ModuleType

import pytest

from optemu.abi import cryp, gp, isocket, obj, syscalls
from optemu.sdk.toolchain import SDK

HEADERS = ("tee_api_defines.h", "tee_api_defines_extensions.h")
FAMILIES = {
    cryp: ("MODE", "OPERATION", "ALG", "TYPE", "ATTR", "CRYPTO_ELEMENT", "ECC_CURVE", "USAGE", "SM2_KEP", "TEE_ATTR"),
    obj: ("STORAGE", "DATA", "OBJECT_ID", "HANDLE_FLAG"),
    gp: ("SUCCESS", "ERROR", "ORIGIN", "PARAM_TYPE", "LOGIN"),
}
ONLY_C = {
    "TEE_ATTR_BIT_PROTECTED",  # old names of TEE_ATTR_FLAG_*
    "TEE_ATTR_BIT_VALUE",
    "TEE_STORAGE_PRIVATE_SQL_RESERVED",  # no longer served by anything
    "TEE_ERROR_TIMEOUT",  # no syscall returns it
}
ONLY_PYTHON = {"TEE_USAGE_DEFAULT"}  # the core's own affair


def macros() -> dict[str, int]:
    """The macros that are numbers or names of other macros; OP-TEE's own without the leading underscores."""
    text = "".join((SDK / "include" / "ta" / name).read_text() for name in HEADERS)
    raw = dict(re.findall(r"^#define _*((?:TEE|OPTEE)_\w+) +(\S.*)$", text, re.M))
    found: dict[str, int] = {}
    for name, value in raw.items():
        body = raw.get(value, value)
        if re.fullmatch(r"(0x[0-9A-Fa-f]+|\d+)", body):
            found[name] = int(body, 0)
        elif shift := re.fullmatch(r"\(1 << (\d+)\)", body):
            found[name] = 1 << int(shift[1])
    return found


def of_family(name: str, families: tuple[str, ...]) -> bool:
    return re.match(rf"(TEE|OPTEE)_({'|'.join(families)})(_|$)", name) is not None


@pytest.mark.parametrize("module", FAMILIES, ids=lambda m: m.__name__)
def test_headers_and_abi_agree(module: ModuleType) -> None:
    families = FAMILIES[module]
    in_c = {n: v for n, v in macros().items() if of_family(n, families) and n not in ONLY_C}
    in_python = {
        n: v for n, v in vars(module).items() if of_family(n, families) and isinstance(v, int) and n not in ONLY_PYTHON
    }
    assert len(in_python) > 10
    missing = in_python.keys() - in_c.keys()
    assert not missing
    # Names of version 1.1 for single curves and the states of an operation are C's alone.
    extra = in_c.keys() - in_python.keys()
    assert all(re.match(r"TEE_(ALG_EC(DSA|DH)_P\d+|OPERATION_STATE_\w+)$", n) for n in extra), extra
    assert {n: in_c[n] for n in in_python} == in_python


def test_sockets() -> None:
    names = ("tee_isocket.h", "tee_tcpsocket.h", "tee_udpsocket.h")
    text = "".join((SDK / "include" / "ta" / name).read_text() for name in names)
    in_c = dict(re.findall(r"(TEE_(?:ISOCKET|TCP|UDP|IP)_\w+) (?:= )?(0x[0-9A-Fa-f]+|\d+)", text))
    in_python = {n: v for n, v in vars(isocket).items() if n.startswith("TEE_")}
    assert in_python
    assert {n: int(in_c[n], 0) for n in in_python} == in_python


def test_system_calls() -> None:
    rows = re.findall(
        r"^UTEE_SYSCALL _+utee_(\w+), (\d+), (\d+)$", (SDK / "runtime" / "syscalls.inc").read_text(), re.M
    )
    renamed = {f"storage_{verb}_enum": f"storage_enum_{verb}" for verb in ("alloc", "free", "reset", "start", "next")}
    for name, number, args in rows:
        assert getattr(syscalls, "TEE_SCN_" + renamed.get(name, name).upper()) == int(number)
        assert int(args) == declared_arguments(name), name
    assert {int(n) for _, n, _ in rows} == {*range(55), syscalls.TEE_SCN_CACHE_OPERATION}


def declared_arguments(name: str) -> int:
    header = (SDK / "include" / "ta" / "utee_syscalls.h").read_text()
    declared = re.search(rf"\b_utee_{name}\(([^)]*)\)", header)
    assert declared, name
    return 2 if name == "panic" else declared[1].count(",") + 1


def test_the_runtime_implements_what_the_header_declares() -> None:
    """Each TEE_ function of tee_internal_api.h has exactly one definition in the runtime."""
    header = (SDK / "include" / "ta" / "tee_internal_api.h").read_text()
    sources = "\n".join(p.read_text() for p in (SDK / "runtime").glob("*.c"))
    declared = re.findall(r"\b(TEE_\w+)\([^;{]*\);", header)
    defined = re.findall(r"^[\w ]+\*?(TEE_\w+)\([^;{]*\)\n\{", sources, re.M)
    assert declared
    assert sorted(declared) == sorted(d for d in defined if not d.startswith("TEE_Cache"))
