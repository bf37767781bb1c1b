"""The TEE subsystem's ioctl interface: include/uapi/linux/tee.h."""

import struct
from typing import Final

TEE_IOC_MAGIC: Final = 0xA4
TEE_MAX_ARG_SIZE: Final = 4096
"""Largest argument block (tee_core.c); with params it bounds TEE_IOC_OPEN_SESSION and the rest."""

TEE_IMPL_ID_OPTEE: Final = 1
TEE_OPTEE_CAP_TZ: Final = 1 << 0
TEE_GEN_CAP_GP: Final = 1 << 0
TEE_GEN_CAP_PRIVILEGED: Final = 1 << 1
TEE_GEN_CAP_REG_MEM: Final = 1 << 2
TEE_GEN_CAP_MEMREF_NULL: Final = 1 << 3
TEE_MEMREF_NULL: Final = 0xFFFFFFFFFFFFFFFF

TEE_IOC_VERSION: Final = 0x800CA400
TEE_IOC_SHM_ALLOC: Final = 0xC010A401
TEE_IOC_OPEN_SESSION: Final = 0x8010A402
TEE_IOC_INVOKE: Final = 0x8010A403
TEE_IOC_CANCEL: Final = 0x8008A404
TEE_IOC_CLOSE_SESSION: Final = 0x8004A405
TEE_IOC_SUPPL_RECV: Final = 0x8010A406
TEE_IOC_SUPPL_SEND: Final = 0x8010A407
TEE_IOC_SHM_REGISTER_FD: Final = 0xC018A408
TEE_IOC_SHM_REGISTER: Final = 0xC018A409

IOCTL_NAMES: Final = {
    TEE_IOC_VERSION: "TEE_IOC_VERSION",
    TEE_IOC_SHM_ALLOC: "TEE_IOC_SHM_ALLOC",
    TEE_IOC_OPEN_SESSION: "TEE_IOC_OPEN_SESSION",
    TEE_IOC_INVOKE: "TEE_IOC_INVOKE",
    TEE_IOC_CANCEL: "TEE_IOC_CANCEL",
    TEE_IOC_CLOSE_SESSION: "TEE_IOC_CLOSE_SESSION",
    TEE_IOC_SUPPL_RECV: "TEE_IOC_SUPPL_RECV",
    TEE_IOC_SUPPL_SEND: "TEE_IOC_SUPPL_SEND",
    TEE_IOC_SHM_REGISTER_FD: "TEE_IOC_SHM_REGISTER_FD",
    TEE_IOC_SHM_REGISTER: "TEE_IOC_SHM_REGISTER",
}

# struct tee_ioctl_version_data: impl_id, impl_caps, gen_caps
VERSION_DATA: Final = struct.Struct("<III")
# struct tee_ioctl_shm_alloc_data: size (in, out), flags, id
SHM_ALLOC_DATA: Final = struct.Struct("<QIi")
# struct tee_ioctl_shm_register_fd_data: fd, size, flags, id (8-byte aligned)
SHM_REGISTER_FD_DATA: Final = struct.Struct("<qQIi")
# struct tee_ioctl_shm_register_data: addr, length, flags, id
SHM_REGISTER_DATA: Final = struct.Struct("<QQIi")
# struct tee_ioctl_buf_data: buf_ptr, buf_len
BUF_DATA: Final = struct.Struct("<QQ")
# struct tee_ioctl_param: attr, a, b, c
PARAM: Final = struct.Struct("<QQQQ")
# struct tee_ioctl_open_session_arg: uuid, clnt_uuid, clnt_login, cancel_id, session, ret, ret_origin, num_params
OPEN_SESSION_ARG: Final = struct.Struct("<16s16sIIIIII")
# struct tee_ioctl_invoke_arg: func, session, cancel_id, ret, ret_origin, num_params
INVOKE_ARG: Final = struct.Struct("<IIIIII")
# struct tee_ioctl_cancel_arg: cancel_id, session
CANCEL_ARG: Final = struct.Struct("<II")
# struct tee_ioctl_close_session_arg: session
CLOSE_SESSION_ARG: Final = struct.Struct("<I")
# struct tee_iocl_supp_recv_arg: func, num_params
SUPP_RECV_ARG: Final = struct.Struct("<II")
# struct tee_iocl_supp_send_arg: ret, num_params
SUPP_SEND_ARG: Final = struct.Struct("<II")

TEE_IOCTL_PARAM_ATTR_TYPE_NONE: Final = 0
TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT: Final = 1
TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_OUTPUT: Final = 2
TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT: Final = 3
TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT: Final = 5
TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT: Final = 6
TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT: Final = 7
TEE_IOCTL_PARAM_ATTR_TYPE_MASK: Final = 0xFF
TEE_IOCTL_PARAM_ATTR_META: Final = 0x100
TEE_IOCTL_PARAM_ATTR_MASK: Final = 0x1FF
