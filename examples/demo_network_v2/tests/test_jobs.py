"""The tests of demo_network_v2: python3 manage.py demo_network_v2 test"""

import pytest
from fission.core.pipes import PicklePipe

from shared.jobs.jobs import SourceJob


@pytest.fixture(params=[-20, 0, 100])
def start(request):
    return request.param


@pytest.fixture(params=[-5, 1])
def step(request):
    return request.param


@pytest.fixture
def fission_test_job(start, step):
    return SourceJob(start=start, step=step, outputs=[PicklePipe(9001)])


@pytest.mark.slow
def test_the_source_counts_from_its_start_by_its_step(fission_test_emulator, start, step):
    source = fission_test_emulator
    assert (source.job.value, source.job.step) == (start, step)
    assert [source(), source()] == [[start], [start + step]]


def test_the_join_takes_any_number_of_inputs(fission_cfg, fission_network):
    join = fission_cfg.JOBS[3]
    ran = fission_network([join], {pipe: [2, 3] for pipe in join.inputs})
    assert ran.pipes[105] == [8, 27]
