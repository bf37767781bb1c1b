"""What a Client API call that fails raises."""

import errno

from optemu.abi import gp
from optemu.normal_world.libteec.constants import (
    TEEC_ERROR_BAD_PARAMETERS,
    TEEC_ERROR_GENERIC,
    TEEC_ERROR_OUT_OF_MEMORY,
    TEEC_ORIGIN_API,
    TEEC_ORIGIN_COMMS,
)


class TeecError(Exception):
    """A TEEC_Result other than TEEC_SUCCESS: ``code``, ``origin`` (TEEC_ORIGIN_*), what was being done."""

    def __init__(self, code: int, origin: int, message: str = "") -> None:
        super().__init__(code, origin, message)
        self.code = code
        self.origin = origin
        self.message = message

    def __str__(self) -> str:
        name = gp.result_name(self.code).replace("TEE_", "TEEC_", 1)
        origin = gp.ORIGIN_NAMES.get(self.origin, str(self.origin))
        return f"{name} (origin {origin})" + (f": {self.message}" if self.message else "")


def bad_parameters(message: str) -> TeecError:
    """What libteec itself refuses, before the driver hears of it."""
    return TeecError(TEEC_ERROR_BAD_PARAMETERS, TEEC_ORIGIN_API, message)


def ioctl_error(error: OSError, message: str) -> TeecError:
    """The driver refused the call: its errno as libteec's ioctl_errno_to_res() reads it."""
    if error.errno == errno.ENOMEM:
        code = TEEC_ERROR_OUT_OF_MEMORY
    elif error.errno == errno.EINVAL:
        code = TEEC_ERROR_BAD_PARAMETERS
    else:
        code = TEEC_ERROR_GENERIC
    return TeecError(code, TEEC_ORIGIN_COMMS, f"{message}: {error.strerror}")
