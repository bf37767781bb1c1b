"""Operations a TA has under way. Mirrors struct tee_cryp_state of core/tee/tee_svc_cryp.c."""

from collections.abc import Callable
from typing import Any

from optemu.secure_world.core.tee_obj import new_handle
from optemu.secure_world.crypto.algorithms import Algorithm

CRYP_STATES_MAX = 1024
"""Operations of one TA at a time: more than fit the heap of a core on most boards."""


class TeeCrypState:
    """An operation: its algorithm and mode, its keys by handle (0: none), and the provider's context."""

    __slots__ = ("alg", "ctx", "factory", "handle", "initialized", "key1", "key2", "mode")

    def __init__(self, alg: Algorithm, mode: int, factory: Callable[..., Any] | None) -> None:
        self.handle = new_handle()
        self.alg = alg
        self.mode = mode
        self.factory = factory
        """Makes the provider's contexts; None where the algorithm needs none."""
        self.key1 = self.key2 = 0
        self.initialized = False
        """CRYP_STATE_INITIALIZED: it has been, and stays so."""
        self.ctx: Any = None
        """What is running (HashCtx, MacCtx, CipherCtx, AuthencCtx): None before the first init and after the end."""
