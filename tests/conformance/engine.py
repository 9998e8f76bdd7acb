"""The guarantees of every `fission.ports.Engine`.

Subclass `EngineConformance` with a fixture ``site`` that returns a `Site`.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from fission.client.run.jobs.bundles import GUARD
from fission.errors import EngineError, InternalError
from fission.ports import Engine, EngineEvent, JobBundle, JobExited, JobOutput, NodeGone, NodeName, NodePulse, Wiring
from tests.conformance.engine_jobs import Script
from tests.e2e.failover import descriptors
from tests.waiting import eventually, is_running

#: Limit in seconds of any action; arbitrary: far above a busy machine's needs, below pytest's limit.
DEADLINE_S = 20.0
ROOT = Path(__file__).resolve().parents[2]
FIRST, SECOND = NodeName("1"), NodeName("2")

FOREVER = "import os, time\nprint('pid', os.getpid(), flush=True)\nwhile True: time.sleep(0.01)"
#: Ignores requests to stop: it does not listen, and a C call blocks the interpreter.
DEAF = """
import ctypes, os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('pid', os.getpid(), flush=True)
ctypes.PyDLL(None).usleep(30_000_000)
"""
TALKS = """
import sys
for number in range(5000): print('line', number)
print('bad', file=sys.stderr)
sys.stdout.write('rest')
job.finish()
"""
CLEANS_UP = """
import os, time
try:
    print('pid', os.getpid(), flush=True)
    while True: time.sleep(0.01)
finally:
    print('cleaned up')
"""


class Site(ABC):
    """The place of a tested engine: creates it, and does to its nodes what happens to nodes."""

    pulse_interval_s = 0.1

    @abstractmethod
    def engine(self) -> Engine:
        """Return a new engine with the nodes `FIRST` and `SECOND`, not opened."""

    @abstractmethod
    def freeze(self, node: NodeName) -> None:
        """Freeze a node with its jobs."""

    @abstractmethod
    def thaw(self, node: NodeName) -> None:
        """Let a frozen node continue."""

    @abstractmethod
    def lose(self, node: NodeName) -> None:
        """Cut the power of a node."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Return a folder that its nodes can access."""


class Trial:
    """An open engine in the running loop, and all its events."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site, self.engine = site, engine
        self.events: list[EngineEvent] = []
        self.times: list[float] = []
        self._ids = count(1)
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        async for event in self.engine.events():
            async with self._news:
                self.events.append(event)
                self.times.append(time.monotonic())
                self._news.notify_all()

    async def until(self, found: Callable[[], Any], what: str) -> Any:
        """Wait until events make ``found`` true; return its result."""
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(found), DEADLINE_S)
            except asyncio.TimeoutError:
                events = "\n".join(str(event) for event in self.events if not isinstance(event, NodePulse))
                raise AssertionError(f"not within {DEADLINE_S:g} s: {what}\n{events}") from None
        return found()

    async def launch(self, code: str, node: NodeName = FIRST, *, job: int = 0, incarnation: int = 1, ballast: int = 0) -> int:
        """Start a job that runs this code; return its id."""
        number = job or next(self._ids)
        await self.engine.launch(self.bundle(code, number, incarnation, ballast), node)
        return number

    def bundle(self, code: str, job: int, incarnation: int, ballast: int) -> JobBundle:
        folder = self.site.folder / str(job)
        folder.mkdir(parents=True, exist_ok=True)
        return JobBundle(
            job_id=job,
            name=f"Script {job}",
            incarnation=incarnation,
            folder=str(folder),
            sys_path=(str(ROOT),),
            log_file="",
            log_level="ERROR",
            links="fission.adapters.zmq_links:ZmqLinks",
            wiring=Wiring(f"ipc://{folder}/{incarnation}.data", f"ipc://{folder}/{incarnation}.control", {}, {}),
            feedback=frozenset(),
            max_queues={},
            plain=frozenset(),
            head_size=1,
            window_blocks=8,
            window_bytes=1 << 20,
            guard=GUARD,
            pickled_job=pickle.dumps(Script(code, ballast)),
        )

    def lines(self, job: int, stream: str = "stdout") -> list[str]:
        return [
            line
            for event in self.events
            if isinstance(event, JobOutput) and event.job_id == job and event.stream == stream
            for line in event.lines
        ]

    def exits(self, job: int) -> list[JobExited]:
        return [event for event in self.events if isinstance(event, JobExited) and event.job_id == job]

    async def exit(self, job: int) -> JobExited:
        found: list[JobExited] = await self.until(lambda: self.exits(job), f"the end of job {job}")
        return found[-1]

    async def pid(self, job: int, incarnations: int = 1) -> int:
        """Return the process id that a job has printed, after ``incarnations`` of its incarnations did."""
        pids = lambda: [int(line.split()[1]) for line in self.lines(job) if line.startswith("pid ")]  # noqa: E731
        await self.until(lambda: len(pids()) >= incarnations, f"the process of job {job}")
        return pids()[-1]

    def pulses(self, node: NodeName) -> list[float]:
        return [at for event, at in zip(self.events, self.times, strict=True) if isinstance(event, NodePulse) and event.name == node]


async def gone(pid: int) -> None:
    await asyncio.to_thread(eventually, lambda: not is_running(pid), DEADLINE_S, f"the end of process {pid}")


class EngineConformance:
    """The conformance suite."""

    @pytest.fixture(autouse=True)
    def _no_descriptor_is_left(self) -> Any:
        before = descriptors()
        yield
        # a Dask connection that broke in its handshake is in a reference cycle, and ends with it
        eventually(lambda: gc.collect() >= 0 and not descriptors() - before, DEADLINE_S, lambda: f"an end of {descriptors() - before}")

    @pytest.fixture
    def play(self, site: Site) -> Callable[[Callable[[Trial], Awaitable[None]]], None]:
        """Return a function that runs a test coroutine with an open engine, which it closes."""

        async def main(scenario: Callable[[Trial], Awaitable[None]]) -> None:
            engine = site.engine()
            await engine.open()
            trial = Trial(site, engine)
            follower = asyncio.create_task(trial.follow())
            try:
                await scenario(trial)
            finally:
                await engine.close()
                follower.cancel()
                await asyncio.gather(follower, return_exceptions=True)

        return lambda scenario: asyncio.run(main(scenario))

    # nodes

    def test_an_open_engine_has_its_nodes_and_they_pulse(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            assert sorted(trial.engine.nodes()) == [FIRST, SECOND]
            assert all(node.jobs == frozenset() for node in trial.engine.nodes().values())
            await trial.until(lambda: trial.pulses(FIRST) and trial.pulses(SECOND), "a pulse of each")

        play(scenario)

    def test_pulses_come_at_the_interval_whatever_the_jobs_do(self, play: Any, site: Site) -> None:
        async def scenario(trial: Trial) -> None:
            job = await trial.launch(DEAF)
            await trial.pid(job)
            seen = len(trial.pulses(FIRST))
            await trial.until(lambda: len(trial.pulses(FIRST)) >= seen + 8, "eight pulses")
            times = trial.pulses(FIRST)[seen : seen + 8]
            # a busy machine delays events; they come early only after earlier ones were late
            assert times[-1] - times[0] >= 6 * site.pulse_interval_s
            assert sorted(after - before for before, after in pairwise(times))[3] <= 3 * site.pulse_interval_s

        play(scenario)

    def test_nodes_say_which_jobs_they_have(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            job = await trial.launch(FOREVER, SECOND)
            await trial.pid(job)
            assert trial.engine.nodes()[SECOND].jobs == {job}
            assert trial.engine.nodes()[FIRST].jobs == frozenset()
            await trial.engine.stop(job, 1, SECOND, grace=0)
            await trial.exit(job)
            assert trial.engine.nodes()[SECOND].jobs == frozenset()

        play(scenario)

    # jobs and their ends

    def test_all_output_comes_before_the_exit(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            jobs = [await trial.launch(TALKS, node) for node in (FIRST, SECOND)]
            for job in jobs:
                event = await trial.exit(job)
                assert (event.code, event.incarnation, event.report.outcome) == (0, 1, "finished")
                mine = [each for each in trial.events if isinstance(each, (JobOutput, JobExited)) and each.job_id == job]
                assert mine[-1] is event
                assert trial.lines(job) == [f"line {number}" for number in range(5000)] + ["rest"]
                assert trial.lines(job, "stderr") == ["bad"]

        play(scenario)

    @pytest.mark.parametrize(
        ("code", "exit_code", "outcome"),
        [
            ("raise ValueError('so not')", 1, "failed"),
            ("import os; os._exit(7)", 7, None),
            ("import os; os.kill(os.getpid(), 9)", -9, None),
            ("import os; os.kill(os.getpid(), 11)", -11, None),
        ],
    )
    def test_exit_codes_and_reports(self, play: Any, code: str, exit_code: int, outcome: str | None) -> None:
        async def scenario(trial: Trial) -> None:
            event = await trial.exit(await trial.launch(code))
            assert event.code == exit_code
            assert (None if event.report is None else event.report.outcome) == outcome
            assert ("so not" in (event.report.error if event.report else "")) is (outcome == "failed")

        play(scenario)

    def test_two_incarnations_of_a_job_are_distinguished(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            await trial.launch(FOREVER, FIRST, job=5, incarnation=1)
            old = await trial.pid(5)
            await trial.launch(FOREVER, SECOND, job=5, incarnation=2)
            new = await trial.pid(5, incarnations=2)
            await trial.engine.stop(5, 1, FIRST, grace=0)
            assert (await trial.exit(5)).incarnation == 1
            await gone(old)
            assert is_running(new)

        play(scenario)

    # stop

    def test_stop_lets_a_job_clean_up(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            job = await trial.launch(CLEANS_UP)
            await trial.pid(job)
            await trial.engine.stop(job, 1, FIRST, grace=DEADLINE_S)
            event = await trial.exit(job)
            assert (event.code, event.report.outcome) == (0, "stopped")
            assert "cleaned up" in trial.lines(job)
            await trial.engine.stop(job, 1, FIRST, grace=0)  # it has ended: nothing happens

        play(scenario)

    def test_a_job_that_does_not_stop_is_killed_after_the_grace(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            job = await trial.launch(DEAF)
            await trial.pid(job)
            began = time.monotonic()
            await trial.engine.stop(job, 1, FIRST, grace=0.2)
            event = await trial.exit(job)
            assert (event.code, event.report) == (-9, None)
            assert 0.2 <= time.monotonic() - began < 5

        play(scenario)

    def test_stop_of_another_incarnation_or_another_node_changes_nothing(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            job = await trial.launch(FOREVER)
            pid = await trial.pid(job)
            await trial.engine.stop(job, 2, FIRST, grace=0)
            await trial.engine.stop(job, 1, SECOND, grace=0)
            other = await trial.launch("job.finish()")  # its end comes after all earlier orders
            await trial.exit(other)
            assert is_running(pid)
            assert not trial.exits(job)

        play(scenario)

    def test_a_node_that_does_not_exist(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            with pytest.raises(InternalError, match="no node 9"):
                await trial.launch(FOREVER, NodeName("9"))

        play(scenario)

    # lost and frozen nodes

    def test_a_node_that_is_lost_takes_its_jobs_with_it_and_no_others(self, play: Any, site: Site) -> None:
        async def scenario(trial: Trial) -> None:
            lost, kept = await trial.launch(FOREVER, FIRST), await trial.launch(FOREVER, SECOND)
            pids = [await trial.pid(lost), await trial.pid(kept)]
            site.lose(FIRST)
            gone_events = lambda: [event for event in trial.events if isinstance(event, NodeGone)]  # noqa: E731
            await trial.until(gone_events, "the loss")
            assert [event.name for event in gone_events()] == [FIRST]
            assert gone_events()[0].reason
            assert list(trial.engine.nodes()) == [SECOND]
            await gone(pids[0])
            assert is_running(pids[1])
            with pytest.raises(EngineError):
                await trial.launch(FOREVER, FIRST)
            await trial.engine.stop(lost, 1, FIRST, grace=0)  # nothing happens
            seen = len(trial.pulses(SECOND))
            await trial.until(lambda: len(trial.pulses(SECOND)) > seen + 2, "pulses of the other")
            assert not trial.exits(kept)

        play(scenario)

    @pytest.mark.parametrize("ballast", [0, 4 << 20], ids=["small", "big"])
    def test_a_launch_on_a_frozen_node_waits_there(self, play: Any, site: Site, ballast: int) -> None:
        """The caller does not wait; otherwise it could do nothing in the meantime."""

        async def scenario(trial: Trial) -> None:
            site.freeze(FIRST)
            jobs = []
            for _ in range(3):
                jobs.append(await asyncio.wait_for(trial.launch("print('here')\njob.finish()", FIRST, ballast=ballast), DEADLINE_S))
            other = await trial.launch("job.finish()", SECOND)
            await trial.exit(other)
            assert not any(trial.exits(job) for job in jobs)
            site.thaw(FIRST)
            for job in jobs:
                assert (await trial.exit(job)).report.outcome == "finished"
                assert trial.lines(job) == ["here"]

        play(scenario)

    def test_jobs_on_a_frozen_node_freeze_and_continue_with_it(self, play: Any, site: Site) -> None:
        code = "import os, time\nprint('pid', os.getpid(), flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\njob.finish()"

        async def scenario(trial: Trial) -> None:
            job = await trial.launch(code)
            await trial.pid(job)
            site.freeze(FIRST)
            (site.folder / str(job) / "go").touch()
            seen = len(trial.pulses(SECOND))
            await trial.until(lambda: len(trial.pulses(SECOND)) >= seen + 3, "pulses of the other")
            assert not trial.exits(job)
            site.thaw(FIRST)
            assert (await trial.exit(job)).report.outcome == "finished"

        play(scenario)

    # end of the run, output and logs

    def test_dismiss_ends_all_jobs_and_the_nodes_stay(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            jobs = [await trial.launch(FOREVER, FIRST), await trial.launch(DEAF, SECOND)]
            pids = [await trial.pid(job) for job in jobs]
            await trial.engine.dismiss()
            await trial.engine.dismiss()
            for pid in pids:
                await gone(pid)
            assert sorted(trial.engine.nodes()) == [FIRST, SECOND]  # free for another run

        play(scenario)

    def test_output_that_is_followed_is_reported(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            await trial.engine.follow(False)
            await trial.engine.follow(True)
            job = await trial.launch(TALKS)
            await trial.exit(job)
            assert trial.lines(job)[-1] == "rest"

        play(scenario)

    def test_logs_are_of_nodes_that_keep_one(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            await trial.exit(await trial.launch("job.finish()"))
            logs = await trial.engine.logs("net")
            assert set(logs) <= set(trial.engine.nodes())
            assert all(isinstance(text, str) for text in logs.values())

        play(scenario)

    def test_reports_of_nodes_and_processes(self, play: Any) -> None:
        async def scenario(trial: Trial) -> None:
            job = await trial.launch(FOREVER)
            await trial.pid(job)
            assert trial.engine.stopped(FIRST) in (False, None)
            assert await trial.engine.look(job, 1, FIRST) == ""
            assert await trial.engine.look(99, 1, FIRST) == ""
            assert isinstance(trial.engine.absence(FIRST), str)
            await trial.engine.lost(SECOND)  # drops waiting orders; the other node's jobs continue
            assert not trial.exits(job)

        play(scenario)

    # close

    @pytest.mark.parametrize("frozen", [False, True], ids=["all runs", "a node is frozen"])
    def test_close_leaves_nothing(self, site: Site, frozen: bool) -> None:
        async def main() -> list[int]:
            engine = site.engine()
            await engine.open()
            trial = Trial(site, engine)
            follower = asyncio.create_task(trial.follow())
            codes = (FOREVER, DEAF, FOREVER, f"import subprocess\nsubprocess.Popen(['sleep', '1000'])\n{FOREVER}")
            jobs = [await trial.launch(code, (FIRST, SECOND)[index % 2]) for index, code in enumerate(codes)]
            pids = [await trial.pid(job) for job in jobs]
            if frozen:
                site.freeze(FIRST)
                await trial.launch(FOREVER, FIRST, ballast=4 << 20)
            await engine.close()
            await engine.close()
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
            return pids

        for pid in asyncio.run(main()):
            eventually(lambda: not is_running(pid), DEADLINE_S, f"the end of process {pid}")  # noqa: B023 - called at once

    def test_close_without_open(self, site: Site) -> None:
        asyncio.run(site.engine().close())

    def test_open_and_close_again_and_again(self, site: Site) -> None:
        async def main() -> None:
            for _ in range(5):
                engine = site.engine()
                await engine.open()
                await engine.launch(Trial(site, engine).bundle(FOREVER, 1, 1, 0), FIRST)  # it may not have started
                await engine.close()

        asyncio.run(main())
