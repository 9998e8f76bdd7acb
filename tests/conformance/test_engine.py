"""The conformance suite for the engine of this machine, and its own features.

Its nodes can be killed, stopped and revived on request.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from fission.adapters.local_engine import LocalEngine
from fission.ports import NodeGone, NodeName, NodePulse
from tests.conformance.engine import FIRST, FOREVER, SECOND, EngineConformance, Site, Trial, gone
from tests.waiting import DEADLINE_S, eventually


class LocalSite(Site):
    """Virtual nodes of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: list[LocalEngine] = []

    def engine(self) -> LocalEngine:
        run_folder = self._folder / f"run{len(self.made)}"
        run_folder.mkdir()
        self.made.append(LocalEngine(str(run_folder), [FIRST, SECOND], pulse_interval_s=self.pulse_interval_s))
        return self.made[-1]

    def freeze(self, node: NodeName) -> None:
        self.made[-1].freeze(node)

    def thaw(self, node: NodeName) -> None:
        self.made[-1].thaw(node)

    def lose(self, node: NodeName) -> None:
        assert self.made[-1].kill_node(node)

    @property
    def folder(self) -> Path:
        return self._folder


@pytest.fixture
def site(tmp_path: Path) -> LocalSite:
    return LocalSite(tmp_path)


class TestLocalEngine(EngineConformance):
    """The suite, and more."""

    def test_a_node_that_comes_back_is_a_new_incarnation(self, play: Any, site: LocalSite) -> None:
        async def scenario(trial: Trial) -> None:
            engine = site.made[-1]
            for incarnation in range(2, 8):
                job = await trial.launch(FOREVER)
                pid = await trial.pid(job)
                site.lose(FIRST)
                losses = lambda: [event for event in trial.events if isinstance(event, NodeGone)]  # noqa: E731
                await trial.until(lambda: len(losses()) == incarnation - 1, "the loss")  # noqa: B023
                assert losses()[-1].incarnation == incarnation - 1
                assert not engine.kill_node(FIRST)  # it is dead already
                await gone(pid)
                await engine.revive(FIRST)
                await trial.until(lambda: NodePulse(FIRST, incarnation) in trial.events, "its pulse")  # noqa: B023
                assert FIRST in engine.nodes()
            await engine.revive(FIRST)  # a node that is up: nothing happens
            assert (await trial.exit(await trial.launch("job.finish()"))).code == 0

        play(scenario)

    def test_the_kernel_says_whether_a_node_and_a_job_are_stopped(self, play: Any, site: LocalSite) -> None:
        async def scenario(trial: Trial) -> None:
            engine = site.made[-1]
            job = await trial.launch(FOREVER)
            pid = await trial.pid(job)
            assert (engine.stopped(FIRST), engine.stopped(SECOND)) == (False, False)
            assert await engine.look(job, 1, FIRST) == ""
            os.kill(pid, signal.SIGSTOP)
            while await engine.look(job, 1, FIRST) != "stopped by a signal":  # pytest's timeout is the deadline
                await asyncio.sleep(0.01)
            assert engine.stopped(FIRST) is False  # the node itself is not stopped
            os.kill(pid, signal.SIGCONT)
            site.freeze(FIRST)
            await trial.until(lambda: engine.stopped(FIRST), "the node is stopped")
            assert engine.stopped(SECOND) is False
            site.thaw(FIRST)
            await trial.until(lambda: not engine.stopped(FIRST), "it continues")
            assert await engine.look(99, 1, FIRST) == ""

        play(scenario)

    def test_nodes_that_someone_has_stopped_end_by_themselves(self, play: Any, site: LocalSite) -> None:
        """They continue to do so: otherwise each would take its five seconds, and leave the run folder."""

        async def scenario(trial: Trial) -> None:
            engine = site.made[-1]
            for node in (FIRST, SECOND):
                os.kill(psutil.Process(await trial.pid(await trial.launch(FOREVER, node))).ppid(), signal.SIGSTOP)
            await asyncio.to_thread(eventually, lambda: engine.stopped(FIRST) and engine.stopped(SECOND), DEADLINE_S, "both are stopped")
            await engine.close()
            assert not (site.folder / "run0").exists()

        play(scenario)

    def test_kill_job_kills_each_incarnation_of_it(self, play: Any, site: LocalSite) -> None:
        async def scenario(trial: Trial) -> None:
            engine = site.made[-1]
            assert not engine.kill_job(5)
            await trial.launch(FOREVER, FIRST, job=5, incarnation=1)
            first = await trial.pid(5)
            await trial.launch(FOREVER, SECOND, job=5, incarnation=2)
            second = await trial.pid(5, incarnations=2)
            assert engine.kill_job(5)
            await trial.until(lambda: len(trial.exits(5)) == 2, "both ends")
            assert [event.code for event in trial.exits(5)] == [-9, -9]
            await gone(first)
            await gone(second)

        play(scenario)

    def test_a_node_dies_while_a_launch_waits_for_it(self, play: Any, site: LocalSite) -> None:
        async def scenario(trial: Trial) -> None:
            site.freeze(FIRST)
            await trial.launch(FOREVER, FIRST, ballast=4 << 20)
            site.lose(FIRST)
            await trial.until(lambda: [event for event in trial.events if isinstance(event, NodeGone)], "the loss")
            await asyncio.wait_for(site.made[-1].revive(FIRST), 10)
            assert (await trial.exit(await trial.launch("job.finish()"))).code == 0

        play(scenario)
