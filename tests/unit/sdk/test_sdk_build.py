"""The build driver: what it makes, what it makes again, what it says when it cannot."""

import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from sdk_project import TA_SOURCE, write_project

from optemu import sign
from optemu.abi import shdr
from optemu.sdk import build, project, toolchain

UUID = "11223344-5566-7788-0102-030405060708"
OPTIONS = build.Options(host=False)


class Steps(list[str]):
    """Collects the progress lines; called as the driver calls its ``say``."""

    def __call__(self, line: str) -> None:
        self.append(" ".join(line.split()[:2]))


def test_ta_is_built_and_signed(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p")
    built = build.build(root, OPTIONS, Steps())
    assert built == build.Built(UUID, root / "out" / f"{UUID}.ta", root / "out" / f"{UUID}.elf", None)
    assert built.ta is not None
    image = built.ta.read_bytes()
    header = shdr.parse_shdr(image)
    assert shdr.parse_bootstrap_ta(image, header.size).uuid.hex() == UUID.replace("-", "")
    assert image[header.size + 20 :].startswith(b"\x7fELF")


def test_only_what_changed_is_compiled_again(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p", '#include "x.h"\n' + TA_SOURCE)
    (root / "ta" / "x.h").write_text("")
    build.build(root, OPTIONS, Steps())
    steps = Steps()
    build.build(root, OPTIONS, steps)
    assert [s for s in steps if s.startswith("CC")] == []
    later = (root / "out" / "obj" / "ta" / "ta.elf").parent.stat().st_mtime + 10
    (root / "ta" / "x.h").write_text("#define X 1\n")
    os.utime(root / "ta" / "x.h", (later, later))
    steps = Steps()
    build.build(root, OPTIONS, steps)
    assert "CC ta/ta.c" in steps
    assert "CC user_ta_header.c" not in steps
    steps = Steps()
    build.build(root, replace(OPTIONS, defines=("Y=1",)), steps)
    assert "CC user_ta_header.c" in steps


def test_compiler_errors_are_shown_and_old_results_do_not_hide_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path / "p")
    build.build(root, OPTIONS, Steps())
    (root / "ta" / "ta.c").write_text("int f(void) { return nothing; }\n")
    os.utime(root / "ta" / "ta.c", (2**31 - 1, 2**31 - 1))
    for _ in range(2):
        with pytest.raises(build.BuildError, match="clang failed"):
            build.build(root, OPTIONS, Steps())
        assert "ta.c:1:22: error: use of undeclared identifier 'nothing'" in capfd.readouterr().err


def test_missing_entry_point_is_a_link_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_project(tmp_path / "p", "int x;\n")
    with pytest.raises(build.BuildError, match=r"ld\.lld failed"):
        build.build(root, OPTIONS, Steps())
    assert "TA_InvokeCommandEntryPoint" in capfd.readouterr().err


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(build.BuildError, match=r"pip install 'optemu\[sdk\]'"):
        build.build(write_project(tmp_path / "p"), OPTIONS, Steps())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[ta", "optemu-build.toml"),
        ("[tb]\n", "unknown section 'tb'"),
        ("ta = 1\n", "unknown section 'ta'"),
        ("[ta]\nsource = []\n", "unknown key 'source'"),
        ('[ta]\nsources = "x"\n', "must be a list of strings"),
        ("[ta]\nsources = [1]\n", "must be a list of strings"),
        ('[ta]\nversion = "x"\n', "must be of type int"),
        ('[ta]\nsources = ["none/*.c"]\n', "nothing to build"),
        ('[ta]\nsources = ["/etc/*.c"]\n', "relative"),
        ('[ta]\narch = "mips"\n', "must be one of 'aarch64', 'arm'"),
        ('[ta]\nbranch_protection = "all"\n', "must be one of '', 'bti'"),
        ("lib = 3\n", "unknown section 'lib'"),
        ("lib = [3]\n", "unknown section 'lib'"),
        ("[[ta]]\n", "unknown section 'ta'"),
        ("[[lib]]\nlink = 1\n", "must be of type bool"),
        ('[[lib]]\nuuid = "x"\n', "known by its uuid"),
        (f'[[lib]]\nuuid = "{UUID}"\n', "has no sources"),
        ('[ta]\nftrace = true\nbranch_protection = "pac-ret"\n', "return addresses"),
        ("[ta]\nftrace = 1\n", "of type bool"),
        ('[ta]\nsources = [""]\n', "relative"),
    ],
)
def test_bad_project_files(tmp_path: Path, config: str, message: str) -> None:
    root = write_project(tmp_path / "p", config=config)
    with pytest.raises(build.BuildError, match=message):
        project.load(root)


def test_bad_project_directories(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="not a directory"):
        project.load(tmp_path / "none")
    (root := write_project(tmp_path / "p")).joinpath("ta/user_ta_header_defines.h").unlink()
    with pytest.raises(build.BuildError, match=r"needs a user_ta_header_defines\.h"):
        project.load(root)


def test_log_level_decides_what_is_compiled_in(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p", TA_SOURCE.replace('IMSG("destroyed")', 'DMSG("a debug message")'))
    for level, there in ((2, False), (3, True)):
        built = build.build(root, replace(OPTIONS, log_level=level), Steps())
        assert built.ta is not None
        assert (b"a debug message" in built.ta.read_bytes()) is there


def sections(elf: bytes) -> dict[str, tuple[int, int]]:
    return {name.decode(): (start, size) for name, start, size in build._sections(elf)}


def test_image_is_as_op_tee_loads_it(tmp_path: Path) -> None:
    """Two segments on pages of their own, relative relocations only, ta_head as a dynamic symbol, no symbols else."""
    built = build.build(write_project(tmp_path / "p"), OPTIONS, Steps())
    assert built.ta is not None
    assert built.elf is not None
    image = built.ta.read_bytes()
    elf = image[shdr.parse_shdr(image).size + 20 :]
    phoff, phnum = struct.unpack_from("<32xQ16xH", elf)
    loads = [p for i in range(phnum) if (p := struct.unpack_from("<IIQQQQQQ", elf, phoff + 56 * i))[0] == 1]
    assert [p[1] for p in loads] == [5, 6]
    assert all(p[7] == 4096 and p[3] % 4096 == p[2] % 4096 for p in loads)
    assert loads[1][3] // 4096 > (loads[0][3] + loads[0][6] - 1) // 4096
    parts = sections(elf)
    start, size = parts[".rela.dyn"]
    assert {info for _, info, _ in struct.iter_unpack("<QQq", elf[start : start + size])} == {0x403}
    start, size = parts[".ta_head"]
    assert struct.unpack_from("<16xIIQ", elf, start) == (2048 + 2048, 0, 2**64 - 1)
    assert size == 32
    start, size = parts[".dynstr"]
    exported = {b"__elf_phdr_info", b"ta_head", b"trace_level", b"trace_ext_prefix"}
    assert set(elf[start : start + size].split(b"\0")) - {b""} == exported
    assert ".symtab" not in parts
    assert {".symtab", ".debug_line"} <= set(sections(built.elf.read_bytes()))


def test_arm32_links_too(tmp_path: Path) -> None:
    built = build.build(write_project(tmp_path / "p"), replace(OPTIONS, target=toolchain.ARM), Steps())
    assert built.uuid == UUID
    assert built.elf is not None
    assert struct.unpack_from("<16xHH", built.elf.read_bytes()) == (3, 40)


def test_client_runs(tmp_path: Path) -> None:
    root = tmp_path / "p"
    (root / "host").mkdir(parents=True)
    (root / "host" / "main.c").write_text(
        "#include <stdio.h>\n#include <tee_client_api.h>\n"
        'int main(void) { TEEC_Context c; printf("%x", TEEC_InitializeContext("no such TEE", &c)); }\n'
    )
    (root / "optemu-build.toml").write_text('[host]\nname = "client"\n')
    built = build.build(root, say=Steps())
    assert built == build.Built(None, None, None, root / "out" / "client")
    assert subprocess.run([root / "out" / "client"], capture_output=True, check=True).stdout == b"ffff0008"


def test_own_key(tmp_path: Path) -> None:
    with pytest.raises(sign.SignKeyError):
        build.build(write_project(tmp_path / "p"), replace(OPTIONS, key=Path(__file__)), Steps())
