"""The tests of demo_network_v1: python3 manage.py demo_network_v1 test"""


def test_the_source_counts(fission_cfg_jobs):
    source = fission_cfg_jobs(0)
    assert [source(), source()] == [[1], [2]]


def test_the_join_multiplies(fission_cfg_jobs):
    assert fission_cfg_jobs(3)(2, 3, 4) == [24]


def test_five_products_are_summed_up(fission_cfg, fission_network):
    ran = fission_network(fission_cfg.JOBS, {101: [1, 2, 3, 4, 5], 102: [1] * 5, 103: [2] * 5})
    assert ran.sinks[5] == [[2, 4, 6, 8, 10]]
