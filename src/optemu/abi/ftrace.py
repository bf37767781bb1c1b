"""What a TA built for function tracing has in its memory: lib/libutee/include/user_ta_header.h."""

import struct
from typing import Final

FTRACE_INFO_SYMBOL: Final = "__ftrace_info"
FTRACE_INFO: Final = struct.Struct("<3Q")
"""struct __ftrace_info: start and end of the buffer, the address of __ftrace_return."""
FTRACE_RETFUNC_DEPTH: Final = 50
FTRACE_MAGIC: Final = b"FTRACE\0\1"
"""Behind the head's text; events follow."""

FTRACE_BUF: Final = struct.Struct(f"<Q{FTRACE_RETFUNC_DEPTH}Q2I{FTRACE_RETFUNC_DEPTH}QQ5I3?x")
"""struct ftrace_buf: ret_func_ptr, ret_stack, ret_idx, lr_idx, begin_time, suspend_time, curr_idx, max_size, head_off,
buf_off, dump_id, syscall_trace_enabled, syscall_trace_suspended, overflow. The same for AArch64 and Arm32."""
RET_STACK_AT: Final = 8
RET_IDX_AT: Final = RET_STACK_AT + 8 * FTRACE_RETFUNC_DEPTH
BEGIN_TIME_AT: Final = RET_IDX_AT + 8
CURR_IDX_AT: Final = BEGIN_TIME_AT + 8 * FTRACE_RETFUNC_DEPTH + 8
OVERFLOW_AT: Final = CURR_IDX_AT + 22

FTRACE_EVENT_SIZE: Final = 8
"""u64: depth << 56 | address on entry to a function, nanoseconds it took on return from it (depth 0)."""
