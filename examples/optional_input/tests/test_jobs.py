"""The tests of optional_input: python3 manage.py optional_input test"""

from fission.emulate import NOTHING


def test_the_operator_is_that_of_the_call(fission_cfg_jobs):
    job = fission_cfg_jobs(3)
    assert job("+", 10, 1) == ["+", 11]
    assert job("-", 20, 2) == ["-", 18]
    assert job(NOTHING, 30, 3) == ["-", 27]
    assert job("times", 40, 4) == ["-", 36]


def test_the_network_does_not_wait_for_the_console(fission_cfg, fission_network):
    ran = fission_network(fission_cfg.JOBS, blocks=3)
    assert ran.sinks[5] == [("+", 11), ("+", 22), ("+", 33)]


def test_what_is_typed_is_used(fission_cfg, fission_network):
    console = fission_cfg.JOBS[2]
    ran = fission_network(fission_cfg.JOBS, {console: ["-"]}, blocks=3)
    assert [value for _, value in ran.sinks[5]][-1] == 27
