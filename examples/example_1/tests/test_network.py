"""The tests of example_1: python3 manage.py example_1 test"""


def test_the_middle_job_hands_on_what_it_gets(fission_cfg_jobs):
    job = fission_cfg_jobs(1)
    assert job(5) == [5]
    assert job("text") == ["text"]


def test_the_network_writes_what_is_counted(fission_cfg, fission_network):
    ran = fission_network(fission_cfg.JOBS, blocks=4)
    assert ran[fission_cfg.JOBS[2]] == [0, 1, 2, 3]
    assert (ran.folders[3] / "test.csv").read_text().split() == ["pipe_2", "0", "1", "2", "3"]
    assert ran.seconds == 3  # the source sleeps for a second between two numbers; the test does not
