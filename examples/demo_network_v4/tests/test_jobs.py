"""The tests of demo_network_v4: python3 manage.py demo_network_v4 test"""

import pytest
from fission.core.base import reset
from fission.core.pipes import PicklePipe

from demo_network_v4.jobs.jobs import JoinJob


@pytest.fixture(scope="module")
def fission_test_job():
    # pipe 9001, the operator's, is not optional here
    yield JoinJob(inputs=[PicklePipe(9001 + number) for number in range(4)], outputs=[PicklePipe(9101 + number) for number in range(3)])
    reset()


CASES = [
    ("+", (1, 2, 3), 6),
    ("-", (1, 2, 3), -4),
    ("*", (1, 2, 3), 6),
    ("/", (8, 2, 4), 1),
    ("/", (1, 0, 2), "error"),
    ("?", (1, 2), "error"),
]


@pytest.mark.parametrize(("symbol", "values", "result"), CASES[:-1])
def test_operators(fission_test_emulator, symbol, values, result):
    assert fission_test_emulator(symbol, *values) == [result, result, symbol]


def test_an_operator_that_is_none(fission_test_emulator):
    assert fission_test_emulator("?", 1, 2, 3) == ["error", "error", "?"]


def test_the_operator_of_a_call_is_used_in_this_call(fission_cfg_jobs):
    job = fission_cfg_jobs(4)
    assert [job(symbol, *values)[0] for symbol, values, _ in CASES[:4]] == [result for _, _, result in CASES[:4]]


def test_text_that_is_not_a_number_is_left_out(fission_cfg_jobs):
    job = fission_cfg_jobs(5)
    assert job([1, 2, "error", 3, 4]) == [10]


def test_the_operator_changes_while_the_network_runs(fission_cfg, fission_network):
    jobs = fission_cfg.JOBS
    typed = fission_network(jobs, {jobs[0]: ["*"]}, blocks=1)
    assert typed.sinks[7][0] == (1, 20, 1, 20, "*")
    untouched = fission_network(jobs, blocks=1)
    assert untouched.sinks[7][0] == (1, 20, 1, 22, "+")


@pytest.mark.slow
def test_the_sources_in_their_own_time(fission_cfg_jobs):
    source = fission_cfg_jobs(2)
    assert [source() for _ in range(3)] == [[20, 20], [22, 22], [24, 24]]
