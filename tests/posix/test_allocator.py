"""Freed memory is used again."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, sys
from fission.posix.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def fill():
    pieces = [b"x" * 3_000_000 for _ in range(4)]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60).stdout)


def test_memory_that_was_freed_is_used_again() -> None:
    assert new_pages("keep") < 100
    assert new_pages("default") > 10_000
