"""All processes that a job has started end with it, in any session, however the job, its fork server or its client ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fission.adapters.local_engine import LocalEngine
from fission.core.base import collecting
from tests.faults import lingering
from tests.faults.on_engine import HERE, Ended, run_on_engine
from tests.waiting import eventually, is_running

#: Seconds until the kernel has removed killed processes; arbitrary.
GONE_S = 10.0


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


def daemons(one: Ended) -> list[int]:
    return [int(line.split()[1]) for line in one.lines["stdout"] if line.startswith("daemon")]


def living(jobs: list[Ended]) -> list[int]:
    return [process for one in jobs for process in daemons(one) if is_running(process)]


@pytest.mark.parametrize("end", ["raise", "finish", "stop"])
def test_they_end_with_their_job(end: str, tmp_path: Path) -> None:
    """They end all at once and beside a job that runs: none waits for the end of the network."""
    count = len(lingering.LEAVING)
    jobs = [*(lingering.Leaves(what, end) for what in lingering.LEAVING), lingering.Leaves("session", "wait")]
    seen = []

    def over(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        leaving = [found[number] for number in range(1, count + 1)]
        if not (all(one.report for one in leaving) and daemons(found[count + 1])):
            return False
        seen.append(living([found[count + 1]]))
        return not living(leaving)

    ended = run_on_engine(jobs, tmp_path, during=over)
    assert all(daemons(one) for one in ended)
    assert all(seen), "the daemon of the job that runs has ended too"
    eventually(lambda: not living(ended), GONE_S, "the last one ends with the engine")


def test_they_end_with_a_job_that_is_killed(tmp_path: Path) -> None:
    """While another job runs, a process with neither a parent nor our environment is not recognised as the killed job's."""
    known = [what for what in lingering.LEAVING if what not in ("forked", "no_environment")]
    jobs = [*(lingering.Leaves(what, "wait") for what in known), lingering.Leaves("session", "wait")]
    killed = set()

    def over(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        for number in range(1, len(known) + 1):
            if "now" in found[number].lines["stdout"] and number not in killed:
                killed.add(number)
                assert engine.kill_job(number)
        return len(killed) == len(known) and not living([found[number] for number in killed])

    ended = run_on_engine(jobs, tmp_path, during=over)
    assert [one.code for one in ended[:-1]] == [-9] * len(known)
    eventually(lambda: not living(ended), GONE_S, "the last one ends with the engine")


def test_all_end_with_the_last_job_that_is_killed(tmp_path: Path) -> None:
    killed = set()

    def over(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        if all("now" in one.lines["stdout"] for one in found.values()) and not killed:
            killed.update(found)
            assert all(engine.kill_job(number) for number in found)
        return bool(killed) and not living(list(found.values()))

    ended = run_on_engine([lingering.Leaves(what, "wait") for what in lingering.LEAVING], tmp_path, during=over)
    assert all(daemons(one) for one in ended)


def test_all_end_with_a_fork_server_that_is_killed(tmp_path: Path) -> None:
    killed = []

    def over(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        if all("now" in one.lines["stdout"] for one in found.values()) and not killed:
            killed.append(engine._nodes[HERE].process.pid)
            engine._nodes[HERE].process.kill()
        return bool(killed) and not engine.nodes() and not living(list(found.values()))

    ended = run_on_engine([lingering.Leaves(what, "wait") for what in lingering.LEAVING], tmp_path, during=over)
    assert all(daemons(one) for one in ended)


def test_all_end_with_the_engine(tmp_path: Path) -> None:
    def over(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        return all("now" in one.lines["stdout"] for one in found.values())

    ended = run_on_engine([lingering.Leaves(what, "wait") for what in lingering.LEAVING], tmp_path, during=over)
    assert all(daemons(one) for one in ended)
    eventually(lambda: not living(ended), GONE_S, "no process of the jobs is left")
