"""Who calls a static TA. Mirrors ts_get_calling_session of core/kernel/ts_manager.c."""

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.core.session import Session
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.core.user_ta import UserTaCtx


def calling_user_ta(thread: Thread, pta: str) -> UserTaCtx:
    """The user TA whose syscall this is; TeeError(TEE_ERROR_ACCESS_DENIED) for the normal world."""
    session = thread.session
    if isinstance(session, Session) and isinstance(session.ctx, UserTaCtx):
        return session.ctx
    raise TeeError(gp.TEE_ERROR_ACCESS_DENIED, f"{pta} serves user TAs only")
