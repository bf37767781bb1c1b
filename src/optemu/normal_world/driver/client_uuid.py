"""Who opens a session, as the kernel vouches for it. Mirrors tee_session_calc_client_uuid of drivers/tee/tee_core.c."""

import errno
import uuid

from optemu.abi import gp
from optemu.normal_world.driver.interface import Task

TEE_CLIENT_UUID_NS = uuid.UUID("58ac9ca0-2086-4683-a1b8-ec4bc08e01b6")


def client_uuid(login: int, connection_data: bytes, task: Task) -> bytes:
    """16 octets for the second meta parameter of OPEN_SESSION. OSError(EPERM, EINVAL).

    Application logins are refused with EINVAL, as by the kernel, which has no name for an application.
    """
    if login in (gp.TEE_LOGIN_PUBLIC, gp.TEE_LOGIN_REE_KERNEL):
        return gp.NIL_UUID
    if login == gp.TEE_LOGIN_USER:
        return uuid.uuid5(TEE_CLIENT_UUID_NS, f"uid={task.euid:x}").bytes
    if login == gp.TEE_LOGIN_GROUP:
        gid = int.from_bytes(connection_data[:4], "little")
        if gid != task.egid and gid not in task.groups:
            raise OSError(errno.EPERM, f"the client is not in group {gid}")
        return uuid.uuid5(TEE_CLIENT_UUID_NS, f"gid={gid:x}").bytes
    raise OSError(errno.EINVAL, f"login method {login}")
