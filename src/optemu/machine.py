"""Puts one machine together: the board, both worlds on it, and the monitor between them."""

import logging
from collections.abc import Sequence
from pathlib import Path

from optemu.board.board import Board
from optemu.board.config import Config
from optemu.monitor.monitor import monitor
from optemu.normal_world.device import EmulatedDevice
from optemu.normal_world.driver.optee import Optee
from optemu.normal_world.driver.tee_core import CLIENT_DEVICE, SUPPLICANT_DEVICE, TeeSubsystem
from optemu.normal_world.emmc import EmulatedRpmb
from optemu.normal_world.libteec import Context
from optemu.normal_world.state import StateDir
from optemu.normal_world.supplicant import DEFAULT_TA_DIRS, ROWS, Supplicant
from optemu.secure_world.core.pseudo_ta import PseudoTa
from optemu.secure_world.core.tee import Tee
from optemu.trace import Tracer

log = logging.getLogger("optemu.machine")


class Machine:
    """A board with OP-TEE in its secure world and the driver in its normal world, powered on.

    What lasts is in ``state``; without it the machine has the directory that ``config`` names to itself (StateInUse).
    ``device`` is what programs open; ``supplicant=False`` leaves /dev/teepriv0 to somebody else.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        ta_dirs: Sequence[str | Path] = (),
        trace: Tracer | None = None,
        supplicant: bool = True,
        pseudo_tas: tuple[type[PseudoTa], ...] | None = None,
        state: StateDir | None = None,
    ) -> None:
        self.board = Board(config, trace)
        self.state = state or StateDir(self.board.config.state)
        self.trace = self.board.trace
        self.tee = Tee(self.board, pseudo_tas)
        self.monitor = monitor(self.board.config.monitor, self.trace)
        self.monitor.optee_vector_table(self.tee)
        self.rpmb = self._emmc(self.board.config)
        self.optee = Optee(self.board, self.monitor.smc, self.rpmb)
        self.device = TeeSubsystem(self.optee)
        self.supplicant: Supplicant | None = None
        if supplicant:
            dirs = [*ta_dirs, *self.board.config.ta_dirs] or DEFAULT_TA_DIRS
            self.supplicant = Supplicant(
                lambda: EmulatedDevice(self.device, SUPPLICANT_DEVICE),
                dirs,
                tracer=self.trace,
                state=self.board.config.state_dir(),
                store=self.state.path / "tee",
                sync=self.board.config.sync and not self.state.private,
                plugin_dir=self.board.config.plugin_dir,
                rpmb=self.rpmb,
            )
            self.supplicant.start()
            self.optee.supp.lend(self.supplicant.serve_one, {row.cmd for row in ROWS if not row.blocks})

    def _emmc(self, config: Config) -> EmulatedRpmb | None:
        """The board's RPMB partition, whose octets are in ``DIR/rpmb`` of the state directory."""
        if not config.rpmb:
            return None
        sync = config.sync and not self.state.private
        return EmulatedRpmb(self.state.path / "rpmb", config.rpmb_size_mult, sync)

    def connect(self) -> Context:
        """TEEC_InitializeContext for a client in this process."""
        return Context(EmulatedDevice(self.device, CLIENT_DEVICE))

    def abandon_calls(self) -> None:
        """Nobody waits for the calls under way any more: they end as soon as the secure world can be made to."""
        self.optee.powering_off = True
        for ctx in list(self.device.contexts):
            self.optee.end_calls(ctx)

    def power_off(self) -> None:
        """Calls under way are abandoned; then everything stops."""
        self.abandon_calls()
        if self.supplicant is not None:
            self.supplicant.stop()
            self.supplicant = None
        for ctx in list(self.device.contexts):
            ctx.close()
        if self.rpmb is not None:
            self.rpmb.close()
        self.state.close()
        self.board.power_off()
        self.tee.user_tas.power_off(self.tee.manager.contexts)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *exc: object) -> None:
        self.power_off()
