"""The tests of custom_pipe: python3 manage.py custom_pipe test"""

import struct
from pathlib import Path

import pytest
from fission.emulate import emulate
from fission.errors import ValueFitError

from custom_pipe.jobs.jobs import LIMIT
from custom_pipe.pipes.pipes import IntPipe


@pytest.mark.parametrize(("typed", "result"), [("5", 15), ("-3", 7), ("nothing", 10), (str(LIMIT), LIMIT + 10), (str(LIMIT + 1), 10)])
def test_what_was_typed_is_added(fission_cfg_jobs, typed, result):
    assert fission_cfg_jobs(2)(10, typed) == [result, result]


def test_the_program_appends_integers(fission_cfg_jobs):
    job = fission_cfg_jobs(4)
    for value in (1, -2, 2**31 - 1):
        job(value)
    job.finish()
    assert Path(job.cwd, "integers.txt").read_text().split() == ["1", "-2", "2147483647"]


def test_the_pipe(fission_reset):
    assert emulate(IntPipe(1))(-2) == (b"\xfe\xff\xff\xff", b"\xfe\xff\xff\xff", b"\xfe\xff\xff\xff", -2)
    with pytest.raises(ValueFitError, match="IntPipe 1: pack refuses a value of type int"):
        emulate(IntPipe(1))(2**31)
    assert struct.calcsize("<i") == IntPipe.BLOCK_SIZE
