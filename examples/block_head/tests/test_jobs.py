"""The tests of block_head: python3 manage.py block_head test"""

import pytest


@pytest.mark.parametrize(("first", "second", "sum_", "head"), [("3", "4", 7, 0), ("7", "5", 12, 1), ("9", "x", 0, 0)])
def test_the_carry_is_a_bit_of_the_head(fission_cfg_jobs, first, second, sum_, head):
    job = fission_cfg_jobs(2)
    assert job(first, second) == [sum_]
    assert [int(one) for one in job.heads] == [head]


def test_the_head_says_what_to_take_off(fission_cfg_jobs):
    job = fission_cfg_jobs(3)
    assert job(12, head=1) == [2]
    assert job(12, head=0) == [12]


def test_both_together(fission_cfg, fission_network):
    first, second = fission_cfg.JOBS[:2]
    ran = fission_network(fission_cfg.JOBS, {first: ["3", "7"], second: ["4", "5"]})
    assert ran.sinks[5] == [7, 2]
