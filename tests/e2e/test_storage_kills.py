"""What a TA has committed is there after the machine's process was killed, or the power went: see storage_kills.

Each test is a process of its own, which has nothing but what it needs, and forks.
"""

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
    assert "AssertionError: found {" in run.stderr
    assert ", power cut" in run.stderr.splitlines()[-1]


def test_the_test_notices_a_wrong_order(built: Path, tmp_path: Path) -> None:
    """A file that is removed before the database that names it is committed."""
    wrong = """
from optemu.secure_world.storage import ree_fs
real = ree_fs.ReeFs.remove
def remove(self, ree, po):
    with self._dirfile(ree) as dirh:
        ree.files.remove(ree_fs.file_name(dirh.entry(dirh.find(po.uuid, po.obj_id)).file_number))
    real(self, ree, po)
ree_fs.ReeFs.remove = remove
k.Kills(tas, scratch).run(300, 2, k.KINDS[:1])
"""
    run = python("-c", RUN + wrong, built, tmp_path)
    assert run.returncode == 1
    assert "0xf0100001" in run.stderr.lower() or "CORRUPT_OBJECT" in run.stderr
