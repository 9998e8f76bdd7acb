"""A log file on a disk that may be full: what cannot be written is left out, and counted in the log when it can be again."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path


class LogFile(logging.Handler):
    """Appends records to a file, each with one write; a full, broken or read-only disk neither ends it nor makes it noisy."""

    def __init__(self, path: str | Path, *, delay: bool = False) -> None:
        """Append to a file.

        Args:
            path: of the file.
            delay: open it with the first record.

        Raises:
            OSError: it cannot be opened; with ``delay``, it is tried again with each record.
        """
        super().__init__()
        self._path = os.path.abspath(path)  # the working directory of a job is another one later
        self._descriptor = -1
        self._left_out = 0
        if not delay:
            self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and before it how many had to be left out."""
        try:
            # what users raise and print may have characters that are none, as file names do
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
