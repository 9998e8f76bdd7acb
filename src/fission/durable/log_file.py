"""A log file on a disk that may be full: lines that cannot be written are counted, and later
reported in the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path


class LogFile(logging.Handler):
    """Appends each record to a file with one write; tolerates a full, broken or read-only disk
    silently.
    """

    def __init__(self, path: str | Path, *, delay: bool = False) -> None:
        """Append to a file.

        Args:
            path: path of the file.
            delay: whether to open it with the first record.

        Raises:
            OSError: it cannot be opened; with ``delay``, each record tries again.
        """
        super().__init__()
        self._path = os.path.abspath(path)  # the working directory of a job changes later
        self._descriptor = -1
        self._left_out = 0
        if not delay:
            self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, preceded by the number of lost lines, if any."""
        try:
            # user text may contain lone surrogates, as file names do
            text = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except Exception:
            self.handleError(record)
            return
        if self._left_out:
            text = b"%d lines of the log before this one could not be written\n" % self._left_out + text
        try:
            self._open()
            written = os.write(self._descriptor, text)
        except OSError:
            written = 0
        self._left_out = 0 if written == len(text) else self._left_out + 1

    def close(self) -> None:
        """Close the file."""
        with self.lock or contextlib.nullcontext():
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()

    def _open(self) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
