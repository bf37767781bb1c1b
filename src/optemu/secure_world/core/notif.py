"""Asynchronous notifications, secure world to normal world. Mirrors core/kernel/notif_default.c."""

import threading

NOTIF_ASYNC_VALUE_MAX = 63
NOTIF_SYNC_VALUE_BASE = NOTIF_ASYNC_VALUE_MAX + 1


class Notif:
    """Values sent and not yet fetched by OPTEE_SMC_GET_ASYNC_NOTIF_VALUE."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending = 0
        self.enabled = False

    def send_async(self, value: int) -> None:
        with self._lock:
            self._pending |= 1 << value

    def get_value(self) -> tuple[int, bool, bool]:
        """The lowest pending value, whether there was one, whether more are pending."""
        with self._lock:
            if not self._pending:
                return 0, False, False
            value = (self._pending & -self._pending).bit_length() - 1
            self._pending &= self._pending - 1
            return value, True, bool(self._pending)
