"""What was committed is there after the machine's process was killed, or the power went.

See storage_stops, which does so at every file operation, and storage_kills, at some.

Each test is a process of its own, which has nothing but what it needs, and forks.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = "import sys; from pathlib import Path; import storage_kills as k; tas, scratch = map(Path, sys.argv[1:]); "


def python(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, args)], cwd=HERE, capture_output=True, text=True)


def test_killed_processes(built: Path) -> None:
    run = python("storage_kills.py", "--count", 60, "--seed", 0, "--tas", built)
    assert run.returncode == 0, run.stderr
    print(run.stdout)
    assert run.stdout.startswith("60 killed processes")


@pytest.mark.parametrize("kind", range(3))
def test_the_test_notices(built: Path, tmp_path: Path, kind: int) -> None:
    """Without syncing the power takes what was committed."""
    careless = f"import dataclasses; kind = dataclasses.replace(k.KINDS[{kind}], sync=False); "
    run = python("-c", RUN + careless + "k.Kills(tas, scratch).run(100, 0, [kind])", built, tmp_path)
    assert run.returncode == 1
    assert "AssertionError: found {" in run.stderr or "CORRUPT_OBJECT" in run.stderr
    assert ", power cut" in run.stderr.splitlines()[-1]


def test_the_test_notices_a_wrong_order(built: Path, tmp_path: Path) -> None:
    """A file that is removed before the database that names it is committed."""
    wrong = """
from optemu.secure_world.storage import ree_fs
real = ree_fs.ReeFs.remove
def remove(self, ree, po):
    with ree_fs._Dirh(self, ree) as dirh:
        ree.files.remove(ree_fs.file_name(dirh.entry(dirh.find(po.uuid, po.obj_id)).file_number))
    real(self, ree, po)
ree_fs.ReeFs.remove = remove
k.Kills(tas, scratch).run(300, 2, k.KINDS[:1])
"""
    run = python("-c", RUN + wrong, built, tmp_path)
    assert run.returncode == 1
    assert "0xf0100001" in run.stderr.lower() or "CORRUPT_OBJECT" in run.stderr


def test_every_file_operation(built: Path) -> None:
    run = python("storage_stops.py", "--quick", "--tas", built)
    assert run.returncode == 0, run.stderr
    print(run.stdout)
    assert int(run.stdout.split()[0].replace(",", "")) > 3_500


TAS_OLD_FIRST = """
from optemu.secure_world.storage import tadb
real = tadb.TaDb._write
def write(self, ree, index, entry):
    if index < len(self._entries):
        tadb._remove_file(ree, self._entries[index].file)
    real(self, ree, index, entry)
tadb.TaDb._write = write
"""
VERSIONS_COUNTED_FIRST = """
from optemu.secure_world.storage import ver_db
def store(self, ree, index, uuid, version):
    fh = self._open(ree)
    self._fops.write(ree, fh, 0, ver_db._HEADER.pack(0, index + 1))
    self._fops.write(ree, fh, ver_db._HEADER.size + index * ver_db._ENTRY.size, ver_db._ENTRY.pack(uuid, version))
    self._fops.close(ree, fh)
ver_db.VersionDb._store = store
"""
DIRECTORY_UNSYNCED = """
from optemu.normal_world.supplicant import ree_fs
ree_fs.make_directory = lambda path, sync: path.mkdir(parents=True, exist_ok=True)
"""


@pytest.mark.parametrize(
    ("wrong", "work", "said"),
    [
        (DIRECTORY_UNSYNCED, 0, r"REE, objects, power cut after call \d+ .*: found \{\}, not"),
        (TAS_OLD_FIRST, 1, r"REE, installed TAs, killed after call \d+ \(unlink\), in step 3: "),
        (VERSIONS_COUNTED_FIRST, 2, r"REE, versions, \w+ \w+ call \d+ \(\w+\), in step 1: TEEC_ERROR_BAD_STATE"),
    ],
)
def test_stops_at_every_file_operation_notice(built: Path, tmp_path: Path, wrong: str, work: int, said: str) -> None:
    """What is done in a wrong order, or not synced."""
    stops = f"import storage_stops as s; work = s.WORKLOADS[{work}]; {wrong}"
    at_every_call = "s.at_every_call(work.kinds[0], work, s.Images(tas), scratch)"
    run = python("-c", f"{RUN}{stops}{at_every_call}", built, tmp_path)
    assert run.returncode == 1
    assert re.search(said, run.stderr.splitlines()[-1]), run.stderr
