"""The title that `ps` and `top` show for a FISSION process in place of its command line."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_PR_SET_NAME = 15  # <linux/prctl.h>; a name has 15 bytes at most
#: Indices of the fields after the name in /proc/self/stat: the addresses of the process's arguments (proc(5), fields 48 and 49).
_ARG_START, _ARG_END = 45, 46


def set_title(text: str) -> None:
    """Show this text, cut to the length of the original command line.

    Does nothing on systems that do not support it.
    """
    if sys.platform != "linux":
        return
    title = " ".join(text.split()).encode("utf-8", "replace")
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, title[:15], 0, 0, 0)
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        if 0 < start < end:  # 0: the system does not report the addresses
            # safe: the interpreter has copied its arguments, and nothing else reads them
            ctypes.memmove(start, title[: end - start - 1].ljust(end - start, b"\0"), end - start)
