"""The tests of demo_network_v3: python3 manage.py demo_network_v3 test"""

import csv


def test_both_files(fission_cfg, fission_network):
    ran = fission_network(fission_cfg.JOBS, blocks=2)
    with (ran.folders[6] / "join.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[:3] == [["pipe_201", "pipe_202", "pipe_203", "pipe_205"], ["1", "1", "1", "1"], ["2", "2", "2", "8"]]
    assert (ran.folders[7] / "reduce.csv").read_text().split() == ["pipe_301", "225", "2800"]


def test_the_reduce_job(fission_cfg_jobs):
    job = fission_cfg_jobs(4)
    assert job((1, 2, 3, 4, 5)) == [15]
    assert job((6, 7, 8, 9, 10)) == [40]
