"""Terminal windows on the client's desktop, if it has one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fission.ports import Observer

#: Terminal programs to try, in this order; all take ``-e`` and a command.
TERMINALS = ("x-terminal-emulator", "lxterminal", "xterm")
#: Seconds that all windows together have to close before they are killed; arbitrary, within the 2 s of Ctrl-C.
CLOSE_S = 0.3


class Windows:
    """The windows of one run; each runs a command of FISSION."""

    def __init__(self, root: Path, observer: Observer) -> None:
        """Begin without windows.

        Args:
            root: the project's folder.
            observer: notified if a window cannot be opened.
        """
        self._root, self._observer = root, observer
        self._open: list[subprocess.Popen[bytes]] = []

    def open(self, *words: str) -> bool:
        """Open a window with ``fission WORDS``; return whether it opened."""
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return False
        terminal = next((found for name in TERMINALS if (found := shutil.which(name))), None)
        if terminal is None:
            return False
        try:
            command = [terminal, "-e", sys.executable, "-m", "fission", *words]
            self._open.append(subprocess.Popen(command, cwd=self._root, stdin=subprocess.DEVNULL))
        except OSError as why:
            self._observer.warning(f"cannot open a terminal window: {why}")
            return False
        return True

    def close(self) -> None:
        """Close all windows. Blocks for up to `CLOSE_S`. Idempotent."""
        for window in self._open:
            window.terminate()
        deadline = time.monotonic() + CLOSE_S
        for window in self._open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                window.wait(max(0.0, deadline - time.monotonic()))
            window.kill()
            window.wait()
        self._open.clear()
