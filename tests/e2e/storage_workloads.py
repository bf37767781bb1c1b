"""Workloads of storage_stops.py: small changes of what trusted storage keeps, on a real machine, and what there is then."""

import contextlib
import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from crypt_client import Tee
from storage_kills import KINDS, Kind, Step, everything
from tas.constants import CRYPT_UUID, PROBE_UUID, QUIET_UUID

from optemu import sign
from optemu.abi import gp, shdr
from optemu.machine import Machine
from optemu.normal_world.libteec import Operation, TeecError, TempMemref
from optemu.secure_world.pta.secstor_ta_mgmt import PTA_SECSTOR_TA_MGMT_BOOTSTRAP, SecstorTaMgmtPta

State = dict[Any, Any]
"""What a workload is about: objects, TAs that are installed, or the lowest versions."""


class Images:
    """TAs of several versions, each signed once. ``tas``: a directory with those of crypt, probe and quiet."""

    def __init__(self, tas: Path) -> None:
        self._tas = tas
        self._key = sign.load_private_key(sign.DEV_KEY)
        self.crypt = self._raw(CRYPT_UUID)
        self.get = functools.cache(self._get)

    def _raw(self, uuid: str) -> bytes:
        return (self._tas / f"{uuid}.ta").read_bytes()

    def _get(self, uuid: str, version: int, subkey: int | None = None) -> bytes:
        """``subkey``: behind a subkey of that version, which is the development key once more."""
        part = next(iter(shdr.parse_image(self._raw(uuid))))
        assert isinstance(part, shdr.TaPart)
        octets, bits, pss = UUID(uuid).bytes, self._key.key_size, sign.SIG_ALGOS["pss"]
        image = sign.bootstrap_ta(bytes(part.payload), octets, bits, pss, version)
        if subkey is not None:
            key = sign.subkey_image(self._key.public_key(), octets, bits, pss, version=subkey, max_depth=0, name_size=0)
            image = image.under(key.sign(self._key))
        return image.sign(self._key)


class Board:
    """A machine of ``kind`` on ``state`` while it is entered. ``seed``: None for one that looks at what is there."""

    def __init__(self, kind: Kind, state: Path, images: Images, seed: int | None) -> None:
        self.kind, self.images = kind, images
        self.config = kind.config(state, seed)
        self._tas = state.with_name("tas")
        shutil.rmtree(self._tas, ignore_errors=True)
        self._tas.mkdir()
        self.put(CRYPT_UUID, images.crypt)
        self._tee: Tee | None = None

    def __enter__(self) -> "Board":
        self._stack = contextlib.ExitStack()
        self._machine = self._stack.enter_context(Machine(self.config, ta_dirs=[self._tas]))
        self._context = self._stack.enter_context(self._machine.connect())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def put(self, uuid: str, image: bytes) -> None:
        (self._tas / f"{uuid}.ta").write_bytes(image)

    @property
    def tee(self) -> Tee:
        if self._tee is None:
            self._tee = Tee(self._stack.enter_context(self._context.OpenSession(UUID(CRYPT_UUID))))
        return self._tee

    def open(self, uuid: str) -> bool:
        """Is there such a TA, and not too old a one?"""
        try:
            self._context.OpenSession(UUID(uuid)).CloseSession()
        except TeecError as e:
            if e.code in (gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_ACCESS_CONFLICT, gp.TEE_ERROR_SECURITY):
                return False
            raise
        return True

    def install(self, uuid: str, version: int) -> bool:
        """The TA comes into secure storage. Not so when a later version is there."""
        with self._context.OpenSession(UUID(bytes=SecstorTaMgmtPta.uuid)) as pta:
            image = TempMemref.input(self.images.get(uuid, version))
            try:
                pta.InvokeCommand(PTA_SECSTOR_TA_MGMT_BOOTSTRAP, Operation(image))
            except TeecError as e:
                if e.code != gp.TEE_ERROR_ACCESS_CONFLICT:
                    raise
                return False
        return True

    def run(self, uuid: str, version: int, subkey: int | None = None) -> bool:
        """The TA is opened, out of a file of the normal world. Not so when a later version was."""
        self.put(uuid, self.images.get(uuid, version, subkey))
        return self.open(uuid)


class Workload:
    """Steps, each with what there is after it."""

    name: str
    kinds: Sequence[Kind] = KINDS
    quick: int | None = None
    """So many of ``kinds``, where it has to be quick."""
    steps: Sequence[tuple[Callable[[Board], object], State]]

    def found(self, board: Board) -> State:
        """What a machine finds that was just switched on."""
        raise NotImplementedError

    def go_on(self, board: Board) -> None:
        """Something else is done, which must work."""


class ObjectsOfATa(Workload):
    name = "objects"
    _STEPS = (
        Step("create", b"a", b"", 0, bytes(range(100))),
        Step("write", b"a", b"", 50, b"in place"),
        Step("write", b"a", b"", 4090, b"behind the end"),
        Step("create", b"b", b"", 0, b"second" * 800),
        Step("write", b"b", b"", 3, b"anew" * 1100),
        Step("truncate", b"a", b"", 10, b""),
        Step("truncate", b"a", b"", 5000, b""),
        Step("rename", b"a", b"c" * 64, 0, b""),
        Step("create", b"b", b"", 0, b"in place of the second"),
        Step("delete", b"c" * 64, b"", 0, b""),
        Step("delete", b"b", b"", 0, b""),
    )

    def __init__(self) -> None:
        objects: State = {}
        self.steps = [(self._do(step), objects := step.applied(objects)) for step in self._STEPS]

    @staticmethod
    def _do(step: Step) -> Callable[[Board], None]:
        return lambda board: step.do(board.tee, board.kind.storage)

    def found(self, board: Board) -> State:
        return everything(board.tee, board.kind.storage)

    def go_on(self, board: Board) -> None:
        for what in ("create", "delete"):
            Step(what, b"new", b"", 0, b"new").do(board.tee, board.kind.storage)


class InstalledTas(Workload):
    """TAs in secure storage: the database ta.db, and a file for each."""

    name = "installed TAs"
    kinds = KINDS[:2]
    quick = 1
    _STEPS = ((QUIET_UUID, 1), (PROBE_UUID, 1), (QUIET_UUID, 2), (QUIET_UUID, 2), (PROBE_UUID, 3))

    def __init__(self) -> None:
        there: State = {}
        self.steps = [(_done(Board.install, *step), there := {**there, step[0]: step[1]}) for step in self._STEPS]

    def found(self, board: Board) -> State:
        """Of those that can be opened: the lowest version that can be put in their place."""
        there = [uuid for uuid in (QUIET_UUID, PROBE_UUID) if board.open(uuid)]
        return {uuid: next(v for v in range(1, 9) if board.install(uuid, v)) for uuid in there}

    def go_on(self, board: Board) -> None:
        assert board.install(QUIET_UUID, 9)
        assert not board.install(QUIET_UUID, 8)
        assert board.open(QUIET_UUID)


class LowestVersions(Workload):
    """Versions of TAs and subkeys that were seen, below which they are refused: ta_ver.db, subkey_ver.db."""

    name = "versions"
    kinds = KINDS[:2]
    quick = 1
    _STEPS = ((QUIET_UUID, 1), (PROBE_UUID, 1), (QUIET_UUID, 2), (QUIET_UUID, 2, 1), (QUIET_UUID, 2, 2))

    def __init__(self) -> None:
        seen: State = {}
        self.steps = []
        for uuid, version, *subkey in self._STEPS:
            seen = {**seen, uuid: version, **({("subkey", uuid): subkey[0]} if subkey else {})}
            self.steps.append((_done(Board.run, uuid, version, *subkey), seen))

    def found(self, board: Board) -> State:
        """The lowest that are not refused; what can be 0 was never seen."""
        seen: State = {}
        for uuid in (QUIET_UUID, PROBE_UUID):
            seen[uuid] = next(v for v in range(9) if board.run(uuid, v))
        lowest = seen[QUIET_UUID]
        seen["subkey", QUIET_UUID] = next(v for v in range(9) if board.run(QUIET_UUID, lowest, v))
        return {what: version for what, version in seen.items() if version}

    def go_on(self, board: Board) -> None:
        assert board.run(QUIET_UUID, 9, 9)
        assert not board.run(QUIET_UUID, 8, 9)


def _done(do: Callable[..., bool], *args: object) -> Callable[[Board], None]:
    def step(board: Board) -> None:
        assert do(board, *args), args

    return step


WORKLOADS = (ObjectsOfATa(), InstalledTas(), LowestVersions())
