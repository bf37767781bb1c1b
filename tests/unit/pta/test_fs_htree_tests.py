"""FS_HTREE of invoke_tests.pta, which xtest 1015 calls: it passes, and it can fail."""

import hashlib

import pytest
from pta_kit import result

from optemu.abi import gp
from optemu.normal_world.libteec import Value
from optemu.secure_world.pta.invoke_tests import InvokeTestsPta
from optemu.secure_world.storage import htree

FS_HTREE = 6


@pytest.fixture
def pta(session):
    return session(InvokeTestsPta.uuid)


def test_passes(pta, caplog):
    pta.invoke(FS_HTREE)
    assert "damaged" not in caplog.text
    assert result(pta.invoke, FS_HTREE, Value.input(1)) == gp.TEE_ERROR_BAD_PARAMETERS


@pytest.mark.parametrize(
    ("method", "broken"),
    [("_calc_node_hash", lambda self, n: hashlib.sha256(b"%d" % n).digest()), ("_sync_nodes", lambda self: set())],
)
def test_a_broken_tree_is_noticed(pta, monkeypatch, method, broken):
    monkeypatch.setattr(htree.Htree, method, broken)
    assert result(pta.invoke, FS_HTREE) in (gp.TEE_ERROR_SECURITY, gp.TEE_ERROR_CORRUPT_OBJECT)
