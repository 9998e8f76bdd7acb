"""The conformance suite for the engine of several machines.

Its nodes are services of this machine, each at its own address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from fission.adapters.cluster.engine import DaskEngine
from fission.adapters.cluster.members import Identity, RunParameters
from fission.adapters.cluster.worker import security
from fission.adapters.curve import Guard
from fission.adapters.datagrams import Datagrams
from fission.adapters.keys import Keys, make_keys
from fission.adapters.sealing import Seals
from fission.ports import JobArchives, JobId, NodeName
from fission.project.archives import pack
from fission.service.versions import versions
from tests.conformance.engine import DEADLINE_S, FIRST, FOREVER, ROOT, SECOND, EngineConformance, Site, Trial, gone

CLIENT = "127.0.0.1"
IPS = {FIRST: "127.0.0.11", SECOND: "127.0.0.12"}


class Anybody:
    """Accepts every service as a node of the service's own name."""

    def recognise(self, ip: str, name: str) -> Identity | str:
        return Identity(NodeName(name), ("ALL",), None)

    def absence(self, name: str) -> str:
        return ""


class ReadyEngine(DaskEngine):
    """An engine that is open when both nodes are there, and that ends with the run."""

    async def open(self) -> None:
        await super().open()
        await self.follow(True)
        await asyncio.wait_for(self._both(), DEADLINE_S)

    async def _both(self) -> None:
        while len(self.nodes()) < len(IPS):
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        if self._claimer.opened.is_set() and not self._closed:
            with contextlib.suppress(asyncio.TimeoutError):  # a node may be frozen
                await asyncio.wait_for(self.dismiss(), 1)
        await super().close()


class ServiceSite(Site):
    """Two services."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys = make_keys(folder / "keys")
        self._port = next(port for port in iter(lambda: random.randrange(20_000, 30_000, 4), 0) if _free(port))
        self._code = pack([("nothing.py", _empty(folder))])
        self._made = 0
        self._services: dict[NodeName, subprocess.Popen[bytes]] = {}
        for name in (FIRST, SECOND):
            self._serve(name)

    def _serve(self, name: NodeName) -> None:
        words = ["--client", CLIENT, "--port", str(self._port), "--ip", IPS[name], "--name", name, "--jobs", "9"]
        words += ["--root", str(self._folder), "--keys", str(self._keys.folder)]
        with open(self._folder / f"{name}.log", "ab") as log:
            self._services[name] = subprocess.Popen(
                [sys.executable, "-m", "fission", "node", *words],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])},
            )

    def engine(self) -> ReadyEngine:
        self._made += 1
        keys: Keys = self._keys
        parameters = RunParameters(
            run=f"run {self._made}",
            network="net",
            pulse_address=(CLIENT, self._port),
            report_address=f"tcp://{CLIENT}:{self._port + 2}",
            interval_s=self.pulse_interval_s,
            orphan_timeout_s=20.0,
            root="",
            versions=versions(),
        )
        return ReadyEngine(
            parameters,
            Anybody(),
            lambda job: JobArchives(self._code),
            ip=CLIENT,
            port=self._port,
            tls=security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file)),
            guard=lambda context: Guard(context, keys, _log()),
            pulses=partial(Datagrams, Seals(keys)),
        )

    def _processes(self, node: NodeName) -> list[psutil.Process]:
        service = psutil.Process(self._services[node].pid)
        return [service, *service.children(recursive=True)]

    def freeze(self, node: NodeName) -> None:
        for process in self._processes(node):
            process.suspend()

    def thaw(self, node: NodeName) -> None:
        for process in self._processes(node):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def lose(self, node: NodeName) -> None:
        for process in self._processes(node):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._services[node].wait(DEADLINE_S)

    @property
    def folder(self) -> Path:
        return self._folder / "net"

    def close(self) -> None:
        """End the services in order."""
        for node, service in self._services.items():
            if service.poll() is None:
                self.thaw(node)
                service.terminate()
        for service in self._services.values():
            service.wait(DEADLINE_S)


def _free(port: int) -> bool:
    """Return whether a client's ports are free; they are below those that the kernel assigns."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        for number in (port, port + 1, port + 2):
            stack.enter_context(socket.socket()).bind((CLIENT, number))
        stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind((CLIENT, port))
        return True
    return False


def _empty(folder: Path) -> Path:
    (folder / "nothing.py").touch()
    return folder / "nothing.py"


def _log() -> Any:
    return logging.getLogger("fission.test")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ServiceSite]:
    made = ServiceSite(tmp_path)
    yield made
    made.close()
    # remains of a machine without power: its sockets and its shared memory are gone, its folder is not
    for name in os.listdir(os.environ["TMPDIR"]):
        if name.startswith("fission-"):
            shutil.rmtree(Path(os.environ["TMPDIR"]) / name)


class TestDaskEngine(EngineConformance):
    """The suite with one exception: a machine frozen at the end of the run catches up later."""

    @pytest.mark.parametrize("frozen", [False, True], ids=["all runs", "a node is frozen"])
    def test_close_leaves_nothing(self, site: ServiceSite, frozen: bool) -> None:  # type: ignore[override]
        async def main() -> list[int]:
            engine = site.engine()
            await engine.open()
            trial = Trial(site, engine)
            follower = asyncio.create_task(trial.follow())
            jobs = [await trial.launch(FOREVER, (FIRST, SECOND)[index % 2]) for index in range(4)]
            pids = [await trial.pid(job) for job in jobs]
            if frozen:
                site.freeze(FIRST)
            await engine.close()
            await engine.close()
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
            return pids

        pids = asyncio.run(main())
        if frozen:
            site.thaw(FIRST)
        for pid in pids:
            asyncio.run(asyncio.wait_for(gone(pid), 2 * DEADLINE_S))

    def test_a_job_that_a_resumed_client_hears_before_its_node_has_joined(self, play: Any) -> None:
        """It asks for its snapshot again; a client that failed because of it would end the network."""

        async def scenario(trial: Trial) -> None:
            away = NodeName("away")
            await trial.engine.bring(JobId(1), 2, away, "0.5", iter([b"state"]))
            await trial.engine.stop(JobId(1), 1, away, grace=0)
            assert await trial.engine.look(JobId(1), 2, away) == ""
            job = await trial.launch("job.finish()")  # the others are not concerned
            await trial.exit(job)

        play(scenario)

    def test_the_jobs_of_a_killed_service_die_with_it(self, play: Any, site: ServiceSite) -> None:
        async def scenario(trial: Trial) -> None:
            pid = await trial.pid(await trial.launch(FOREVER))
            site._services[FIRST].send_signal(signal.SIGKILL)
            await gone(pid)

        play(scenario)
