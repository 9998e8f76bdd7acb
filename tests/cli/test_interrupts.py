"""Ctrl-C at every line between the end of a command and the exit of its process."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Ends like the script `fission`, and sends itself SIGINT when line number N is executed after the command has returned.
PROGRAM = """
import os, signal, sys
from fission.cli import interrupts, main

wanted, seen, over = int(sys.argv[1]), 0, False

def trace(frame, event, argument):
    global seen
    if event == "line" and over and frame.f_code.co_filename in (main.__file__, interrupts.__file__) and frame.f_code.co_name != "__call__":
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGINT)
    return trace

def command():
    global over
    interrupts.loaded()
    over = True
    return 0

interrupts.install()
if sys.argv[2] == "broken":
    main._exit = lambda run: (code := run(), interrupts.ignore(), sys.exit(code))
sys.settrace(trace)
sys._getframe().f_trace = trace
main._exit(command)
"""


def end_at(line: int, variant: str = "") -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(line), variant], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("line", range(1, 7))
def test_it_ends_without_a_traceback(line: int) -> None:
    code, said = end_at(line)
    assert code in (0, 130)
    assert said == ""


def test_a_program_that_ignores_it_too_late_is_found() -> None:
    """The broken variant."""
    found = [end_at(line, "broken") for line in range(1, 3)]
    assert any(code not in (0, 130) and "KeyboardInterrupt" in said for code, said in found)
