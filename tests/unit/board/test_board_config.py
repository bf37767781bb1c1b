"""optemu.toml: what each key becomes, and what is said of a wrong one."""

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optemu.board.config import Config, ConfigError, default_state, load

WHOLE = """
[board]
huk = "000102030405060708090a0b0c0d0e0f"
die_id = "00000000000000000000000000000000000000000000000000000000000000ff"
huk_subkey = "plain"
seed = 42
clock_offset = -3600
monitor = "armv7"
[tee]
threads = 7
instances = 9
log_level = "debug"
ta_keys = ["a.pem", "/b/c.pem"]
[normal_world]
ta_dirs = ["build", "~/tas"]
state = "state"
reg_mem = true
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "optemu.toml"


def test_every_key(toml: Path) -> None:
    toml.write_text(WHOLE)
    here = toml.parent
    assert load(toml) == Config(
        huk=bytes(range(16)),
        die_id=bytes(31) + b"\xff",
        huk_subkey="plain",
        seed=42,
        clock_offset=-3600,
        monitor="armv7",
        threads=7,
        instances=9,
        log_level="debug",
        ta_keys=[here / "a.pem", Path("/b/c.pem")],
        ta_dirs=[here / "build", Path.home() / "tas"],
        state=here / "state",
        reg_mem=True,
    )


@pytest.mark.parametrize("text", ["", "[board]\n", "[tee]\n[normal_world]\n", "# nothing\n"])
def test_every_key_has_a_default(toml: Path, text: str) -> None:
    toml.write_text(text)
    assert load(toml) == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[board]\nhuk = '12'", "[board] huk = '12': expected 32 hexadecimal digits"),
        ("[board]\nhuk = 'zz'", "[board] huk = 'zz': expected 32 hexadecimal digits"),
        ("[board]\nhuk = 5", "[board] huk = 5: expected 32 hexadecimal digits"),
        (
            "[board]\nhuk_subkey = 'chip'",
            '[board] huk_subkey = \'chip\': expected "compat", "compat-die-id" or "plain"',
        ),
        ("[board]\ndie_id = ''", "[board] die_id = '': expected 64 hexadecimal digits"),
        ("[board]\nseed = true", "[board] seed = True: expected a whole number"),
        ("[board]\nseed = 1.5", "[board] seed = 1.5: expected a whole number"),
        ("[board]\nclock_offset = '1h'", "[board] clock_offset = '1h': expected seconds, a whole number"),
        ("[board]\nmonitor = 'armv9'", '[board] monitor = \'armv9\': expected "armv8" or "armv7"'),
        ("[board]\nmonitor = []", '[board] monitor = []: expected "armv8" or "armv7"'),
        ("[tee]\nthreads = 0", "[tee] threads = 0: expected 1 to 256"),
        ("[tee]\nthreads = 257", "[tee] threads = 257: expected 1 to 256"),
        ("[tee]\nthreads = true", "[tee] threads = True: expected 1 to 256"),
        ("[tee]\ninstances = 0", "[tee] instances = 0: expected 1 to 65536"),
        ("[tee]\nlog_level = 'loud'", '[tee] log_level = \'loud\': expected "none", "error", "info", "debug", '),
        ("[tee]\nlog_level = ['info']", "[tee] log_level = ['info']: expected \"none\""),
        ("[tee]\nlog_level = {}", '[tee] log_level = {}: expected "none"'),
        ("[tee]\nta_keys = 'a.pem'", "[tee] ta_keys = 'a.pem': expected a list of PEM files"),
        ("[normal_world]\nta_dirs = [1]", "[normal_world] ta_dirs = [1]: expected a list of directories"),
        ("[normal_world]\nstate = ['x']", "[normal_world] state = ['x']: expected a directory"),
        (
            "[normal_world]\nrpmb_size = 200",
            "[normal_world] rpmb_size = 200: expected KiB, a multiple of 128 up to 16384",
        ),
        (
            "[tee]\nree_fs_integrity_rpmb = true",
            "[tee] ree_fs_integrity_rpmb: there is no RPMB; set [normal_world] rpmb = true",
        ),
        (
            "[tee]\nta_version_db_rpmb = true",
            "[tee] ta_version_db_rpmb: there is no RPMB; set [normal_world] rpmb = true",
        ),
        ("[normal_world]\nreg_mem = 1", "[normal_world] reg_mem = 1: expected true or false"),
        ("[tee]\nhuk = ''", "[tee] has no key 'huk'; it has threads, instances, log_level, ta_keys"),
        ("[boards]\n", "no table [boards]; there are [board], [tee], [normal_world]"),
        ("threads = 4", "no table [threads]; there are [board], [tee], [normal_world]"),
        ("board = 4", "no table [board]; there are [board], [tee], [normal_world]"),
        ("[board]\ntpm_event_log = '/nowhere'", "[board] tpm_event_log: /nowhere: No such file or directory"),
        ("[normal_world]\nplugin_dir = '/nowhere'", "[normal_world] plugin_dir: /nowhere: No such file or directory"),
        ("[normal_world]\nplugin_dir = '/dev/null'", "[normal_world] plugin_dir: /dev/null: Not a directory"),
        ("[board", "Expected ']' at the end of a table declaration (at end of document)"),
        ("[board]\nseed = 1\nseed = 2", "Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_is_named(toml: Path, text: str, words: str) -> None:
    toml.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(toml)
    assert str(caught.value).startswith(f"{toml}: {words}")


def test_files_that_are_none(toml: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load(toml)
    with pytest.raises(ConfigError, match="Is a directory"):
        load(toml.parent)
    toml.write_bytes(b"[board]\nmonitor = '\xff'\n")
    with pytest.raises(ConfigError, match=r"optemu.toml: .*utf-8"):
        load(toml)


_SCALARS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.booleans(), st.sampled_from(["''", "'armv7'", "1.5", "1979-05-27"])
)
_VALUES = _SCALARS | st.lists(_SCALARS | st.lists(_SCALARS, max_size=1), max_size=2)
_KEYS = st.sampled_from([line.split(" = ")[0] for line in WHOLE.splitlines() if " = " in line])


@given(st.sampled_from(["board", "tee", "normal_world"]), _KEYS, _VALUES)
def test_any_value_is_taken_or_explained(
    tmp_path_factory: pytest.TempPathFactory, table: str, key: str, value: object
) -> None:
    toml = tmp_path_factory.getbasetemp() / "any.toml"
    text = str(value).lower() if not isinstance(value, list) else str(value).replace('"', "").lower()
    toml.write_text(f"[{table}]\n{key} = {text}\n")
    try:
        load(toml)
    except ConfigError as e:
        assert key in str(e)


def test_where_the_tee_keeps_what_lasts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Config().state_dir() == tmp_path / "optemu"
    monkeypatch.setenv("XDG_STATE_HOME", "")
    assert default_state() == Path.home() / ".local" / "state" / "optemu"
    assert Config(state=tmp_path / "mine").state_dir() == tmp_path / "mine"


def test_trusted_keys(tmp_path: Path) -> None:
    names = [name for name, _ in Config().trusted_keys()]
    assert len(names) == 3
    assert "optemu-dev-ta.pub.pem" in names
    (tmp_path / "my.pem").write_bytes(b"PEM")
    assert Config(ta_keys=[tmp_path / "my.pem"]).trusted_keys() == [("my.pem", b"PEM")], "instead of the others"


def test_the_page_shows_every_key_and_its_default(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "optemu.toml"
    path.write_text(text)
    assert load(path) == Config()
    assert set(re.findall(r"^(?:# )?(\w+) =", text, re.MULTILINE)) == {f.name for f in dataclasses.fields(Config)}
