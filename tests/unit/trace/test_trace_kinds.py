import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import optemu
from optemu.abi import gp, optee_smc
from optemu.trace import Point
from optemu.trace.kinds import KINDS, decode


@pytest.mark.parametrize(("kind", "value", "text"), [
    ("u32", -1, "4294967295"),
    ("dec", -1, "-1"),
    ("hex", 255, "0xff"),
    ("ptr", 0x40001000, "0x40001000"),
    ("size", 47, "47 B"),
    ("size", 8192, "8 KiB"),
    ("bool", 1, "yes"),
    ("str", "hello", "hello"),
    ("str", b"caf\xc3\xa9\n\0\0", "café"),
    ("str", "", '""'),
    ("str", "\x1b[31m", r"\x1b[31m"),
    ("bytes", b"", "[0]"),
    ("bytes", bytes(range(20)), "[20] 00010203 04050607 08090a0b 0c0d0e0f…"),
    ("uuid", gp.uuid_octets("8aaaf200-2450-11e4-abe2-0002a5d5c51b"), "8aaaf200-2450-11e4-abe2-0002a5d5c51b"),
    ("uuid", b"short", "[5] 73686f72 74"),
    ("tee_result", 0xFFFF0008, "TEE_ERROR_ITEM_NOT_FOUND"),
    ("tee_result", 0x12345678, "0x12345678"),
    ("origin", 4, "TRUSTED_APP"),
    ("login", 0, "PUBLIC"),
    ("param_types", 0x0051, "value_in,memref_in"),
    ("param_types", 0x3000, "none,none,none,value_inout"),
    ("param_types", 0, "none"),
    ("errno_rc", 0, "0"),
    ("errno_rc", -22, "-EINVAL"),
    ("errno_rc", -99999, "-99999"),
    ("ioctl", 0x8010A403, "TEE_IOC_INVOKE"),
    ("msg_cmd", 1, "INVOKE_COMMAND"),
    ("msg_cmd", 77, "0x4d"),
    ("msg_params", ((0x9, 0x8000, 64, 7), (0, 0, 0, 0), (3, 1, 2, 0)), "tmem_in(64 B at 0x8000 of shm 0x7) - value_inout(0x1,0x2,0x0)"),
    ("smc", optee_smc.OPTEE_SMC_CALL_WITH_REGD_ARG, "CALL_WITH_REGD_ARG"),
    ("smc_return", 0xFFFF0005, "RPC_CMD"),
    ("rpc_func", 5, "RPC_CMD"),
    ("rpc_cmd", 0, "LOAD_TA"),
    ("syscall", 1, "syscall_log"),
    ("entry_func", 2, "TA_InvokeCommandEntryPoint"),
])  # fmt: skip
def test_kinds(kind: str, value: Any, text: str) -> None:
    assert decode(f"x:{kind}", (value,))[0][:2] == ("x", text)


def test_fields_keep_label_and_raw_value() -> None:
    assert decode("cmd:msg_cmd name:str", (1, "x")) == (("cmd", "INVOKE_COMMAND", 1), ("name", "x", "x"))


def test_too_many_and_too_few_arguments() -> None:
    assert [f[:2] for f in decode("a:dec", (1, 2, None))] == [("a", "1"), ("arg1", "0x2"), ("arg2", "none")]
    assert [f[:2] for f in decode("a:dec b:dec", (1,))] == [("a", "1")]
    assert decode("odd : x:nosuchkind", (1, 2, 3))[0][:2] == ("odd", "0x1")


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


_VALUES = st.one_of(st.integers(), st.binary(), st.text(), st.none(), st.booleans(), st.floats(), st.just(Nasty()))


@given(st.sampled_from(sorted(KINDS)), st.one_of(_VALUES, st.lists(_VALUES), st.lists(st.tuples(*[_VALUES] * 4))))
def test_no_argument_upsets_a_kind(kind: str, value: Any) -> None:
    ((label, text, raw),) = decode(f"x:{kind}", (value,))
    assert label == "x"
    assert text.isprintable()
    assert raw is None or raw is value


def declared_points() -> list[Point]:
    points = []
    for module in pkgutil.walk_packages(optemu.__path__, "optemu."):
        if module.name.endswith((".points", ".table")):
            for value in vars(importlib.import_module(module.name)).values():
                values = value.values() if isinstance(value, dict) else [value]
                points += [v for v in values if isinstance(v, Point)]
    assert len(points) > 20
    return points


def test_points_name_known_kinds() -> None:
    """All trace points of the package name known kinds, with distinct labels."""
    for point in declared_points():
        for spec in (point.args, point.result):
            fields = [word.partition(":") for word in spec.split()]
            assert all(kind in KINDS for _, _, kind in fields), point
            assert len({label for label, _, _ in fields}) == len(fields), point


def test_points_say_where_they_are() -> None:
    """The file exists, and what is named in it; each names its counterpart upstream."""
    files = {"/".join(path.parts[-2:]): path.read_text() for path in Path(optemu.__path__[0]).rglob("*.py")}
    for point in declared_points():
        file, _, what = point.where.partition(" ")
        assert re.search(rf"\b{what.rpartition('.')[2]}\b", files[file]), point
        assert point.upstream, point
