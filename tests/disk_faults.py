"""Failing file operations for `fission.durable.interpose`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

#: Errors of a full, broken, or read-only disk, and of a process without descriptors.
DISK_ERRORS = ("ENOSPC", "EIO", "EMFILE", "EROFS")


@dataclass
class FailNth:
    """Fail the n-th operation (from 1) and the next ``times`` - 1 ones; record all operations."""

    nth: int
    error: int
    times: int = 1
    half: bool = False  # a failing write first writes half of its bytes
    only: str = ""  # part of the path of operations that count
    seen: list[tuple[str, str]] = field(default_factory=list)
    failed: int = 0

    def __call__(self, operation: str, path: Path) -> int | None:
        if self.only not in str(path):
            return None
        self.seen.append((operation, str(path)))
        number = len(self.seen)
        if not self.nth <= number < self.nth + self.times:
            return None
        if self.half and operation == "write" and not self.failed:
            self.failed += 1
            self.nth += 1  # the write of the rest fails
            return 1
        self.failed += 1
        raise OSError(self.error, os.strerror(self.error), str(path))
