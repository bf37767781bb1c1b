"""The trusted OS: everything the secure world is, put together. Mirrors core/arch/arm/kernel/boot.c."""

import logging

from optemu import __version__
from optemu.abi import optee_smc as smc_abi
from optemu.board.board import Board
from optemu.errors import TeeError
from optemu.secure_world import pta
from optemu.secure_world.core import points
from optemu.secure_world.core.entry_fast import tee_entry_fast
from optemu.secure_world.core.entry_std import tee_entry_std
from optemu.secure_world.core.ldelf_loader import UserTas
from optemu.secure_world.core.mobj import ShmRegistry
from optemu.secure_world.core.notif import Notif
from optemu.secure_world.core.pseudo_ta import PseudoTa, PseudoTas, registered
from optemu.secure_world.core.secstor_ta import TaRecords
from optemu.secure_world.core.session import SessionList
from optemu.secure_world.core.storage import Storage
from optemu.secure_world.core.ta_store import early_tas
from optemu.secure_world.core.tee_ta_manager import TaManager
from optemu.secure_world.core.tee_time import TeeTime
from optemu.secure_world.core.thread import Registers, Thread, Threads
from optemu.secure_world.crypto.huk_subkey import chip_id_of
from optemu.secure_world.crypto.signed_header import SignedImage, TrustStore, load_trusted_key, verify_image
from optemu.secure_world.crypto.ta_enc import OtpKeys
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_fs import ReeFs
from optemu.secure_world.storage.rpmb import Rpmb
from optemu.secure_world.storage.rpmb_fs import RpmbFs
from optemu.secure_world.storage.rpmb_root import RpmbRoot
from optemu.secure_world.syscalls.table import SyscallTable

log = logging.getLogger("optemu.core")

_DONE = smc_abi.TEESMC_OPTEED_RETURN_CALL_DONE
_REST = (0, 0, 0)


class Tee:
    """OP-TEE OS on ``board``. The monitor enters it through ``fast_smc_entry`` and ``yield_smc_entry``."""

    os_revision = (4, 10, int("".join(part.zfill(2) for part in __version__.split(".")), 16))
    """Major, minor (upstream's, whose interface this is) and a build id: our own version."""

    def __init__(self, board: Board, pseudo_tas: tuple[type[PseudoTa], ...] | None = None) -> None:
        self.board = board
        self.trace = board.trace
        self.shm = ShmRegistry(board.memory)
        self.notif = Notif()
        self.time = TeeTime(board)
        self.storage = Storage(*_file_systems(board))
        self.ta_records = TaRecords(self)
        self.syscalls = SyscallTable(self)
        self.open_sessions = SessionList()
        """Sessions opened from the normal world."""
        self.pseudo_tas = PseudoTas(self, pta.BUILT_IN + registered() if pseudo_tas is None else pseudo_tas)
        self.early_tas = early_tas(board.early_tas)
        self.user_tas = UserTas(self)
        self.manager = TaManager([self.pseudo_tas, self.user_tas], board.clock, board.trace)
        self.threads = Threads(board.config.threads, self.shm, self._tee_entry_std, board.trace)
        self.trust = TrustStore(
            [load_trusted_key(name, pem) for name, pem in board.trusted_keys],
            OtpKeys(board.config.huk, board.config.ta_class_key),
        )

    def _tee_entry_std(self, thread: Thread, view: memoryview, at: int, num_params: int) -> int:
        return tee_entry_std(self, thread, view, at, num_params)

    def yield_smc_entry(self, regs: Registers) -> Registers:
        """vector_yield_smc_entry."""
        trace = self.trace
        if trace.on:
            trace.enter(points.STD_SMC, regs[0], regs[1], regs[2], regs[3])
        r0, r1, r2, r3 = self.threads.handle_std_smc(regs)
        if trace.on:
            trace.exit(points.STD_SMC, r0)
        return (_DONE, r0, r1, r2, r3, *_REST)

    def fast_smc_entry(self, regs: Registers) -> Registers:
        """vector_fast_smc_entry."""
        trace = self.trace
        if trace.on:
            trace.enter(points.FAST_SMC, regs[0])
        r0, r1, r2, r3 = tee_entry_fast(self, regs)
        if trace.on:
            trace.exit(points.FAST_SMC, r0)
        return (_DONE, r0, r1, r2, r3, *_REST)

    def verify(self, image: bytes, uuid: bytes | None) -> SignedImage:
        """The signed image ``image`` is, with ``uuid`` one of that TA; TeeError, most often TEE_ERROR_SECURITY."""
        trace = self.trace
        if trace.on:
            trace.enter(points.VERIFY, len(image))
        try:
            signed = verify_image(image, self.trust, uuid)
        except TeeError as e:
            if trace.on:
                trace.exit(points.VERIFY, e.code, "none")
            raise
        if trace.on:
            trace.exit(points.VERIFY, 0, signed.key)
        return signed


def _file_systems(board: Board) -> tuple[ReeFs, RpmbFs | None]:
    """CFG_REE_FS, and as configured CFG_RPMB_FS and CFG_REE_FS_INTEGRITY_RPMB."""
    config = board.config
    chip_id = chip_id_of(config.huk_subkey, config.die_id)
    keys = KeyManager(config.huk, chip_id)
    if not config.rpmb:
        return ReeFs(keys, board.entropy), None
    rpmb_fs = RpmbFs(Rpmb(config.huk, board.entropy, config.rpmb_write_key, chip_id), keys, board.entropy)
    return ReeFs(keys, board.entropy, RpmbRoot(rpmb_fs) if config.ree_fs_integrity_rpmb else None), rpmb_fs
