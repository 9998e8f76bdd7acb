"""What `ps` and `top` show of a process of ours, in place of the command line with which its interpreter was started."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_PR_SET_NAME = 15  # <linux/prctl.h>; a name has 15 bytes at most
#: Fields of /proc/self/stat behind the name: where the arguments of the process are in its memory (proc(5), fields 48 and 49).
_ARG_START, _ARG_END = 45, 46


def set_title(text: str) -> None:
    """Show this text; it is cut to the length of the command line so far. Does nothing where the system has no way for it."""
    if sys.platform != "linux":
        return
    title = " ".join(text.split()).encode("utf-8", "replace")
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, title[:15], 0, 0, 0)
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        if 0 < start < end:  # 0: the system does not say where
            # the interpreter has copied its arguments, and nothing else reads them
            ctypes.memmove(start, title[: end - start - 1].ljust(end - start, b"\0"), end - start)
