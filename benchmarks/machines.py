"""Shared by the benchmarks over several hosts: hosts as network namespaces, ``fission node`` on each, and runs of the networks here.

Needs root and the programs of tests/cluster/hosts.py, which creates the hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chain import PROJECT
from benchmarks.fault_times import timed_events
from fission.adapters.keys import make_keys
from tests.cluster.hosts import Hosts
from tests.cluster.support import Node

#: Seconds that one step may take on a busy machine; arbitrary.
WAIT_S = 30.0


class Machines:
    """Hosts with a service on each, and a network of benchmarks/networks that runs on them. A context manager.

    Attributes:
        hosts: as tests/cluster/hosts.py creates them.
        nodes: their services, by name; the first one is ``n1``.
        keys: folder of the network's keys.
    """

    def __init__(self, network: str, groups: Sequence[str], jobs: int = 8) -> None:
        """Args: network: its name. groups: groups of each host. jobs: maximum number of jobs on each."""
        self.network, self._groups, self._jobs = network, groups, jobs
        self._folder = Path(tempfile.mkdtemp(prefix="fission-benchmark-"))
        self.keys = self._folder / "keys"
        make_keys(self.keys)
        self._env = {"FISSION_KEYS": str(self.keys), "HOME": str(self._folder)}
        self.hosts = Hosts(len(groups))
        self.nodes = {
            f"n{number}": Node(host, f"n{number}", self._folder / "hosts", self.hosts.client_ip, dict(self._env))
            for number, host in enumerate(self.hosts, 1)
        }

    def __enter__(self) -> Machines:
        try:
            for name in self.nodes:
                self.start(name)
            for node in self.nodes.values():
                until(lambda node=node: "waits for a client" in node.log, "a service waits for the client")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self, name: str) -> None:
        """Start the service of a node."""
        self.nodes[name].start(jobs=self._jobs)

    def close(self) -> None:
        """Stop the services, then remove the hosts."""
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                node.process.terminate()
        for node in self.nodes.values():
            if node.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.process.wait(5)
        self.hosts.close()
        subprocess.run(["rm", "-rf", str(self._folder)], check=False)

    # runs

    @property
    def local(self) -> Path:
        """Return the folder of the last run."""
        return PROJECT / self.network / "local"

    def job_folder(self, job: int) -> Path:
        """Return the folder in which a job of the last run worked, on a host or here."""
        folders = [node.root / self.network / str(job) for node in self.nodes.values()]
        return next((folder for folder in folders if folder.exists()), self.local / str(job))

    def run(self, **order: Any) -> subprocess.Popen[str]:
        """Start ``manage.py NETWORK run``; the network's config reads the order, besides the hosts."""
        hosts = {
            "client_ip": self.hosts.client_ip,
            "nodes": [[node.ip, name, ["ALL", group]] for (name, node), group in zip(self.nodes.items(), self._groups, strict=True)],
        }
        environment = {**os.environ, **self._env, "FISSION_BENCH": json.dumps({**order, "hosts": hosts})}
        # results of an earlier run must not be mistaken for those of this one
        subprocess.run(["rm", "-rf", str(self.local)], check=False)
        return subprocess.Popen(
            [sys.executable, "manage.py", self.network, "run"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, client: subprocess.Popen[str]) -> None:
        """Wait for the end of a run. Raises RuntimeError: it failed."""
        try:
            errors = client.communicate(timeout=600)[1]
        except BaseException:
            os.killpg(client.pid, signal.SIGKILL)
            client.wait()
            raise
        if client.returncode:
            raise RuntimeError(f"the run ended with exit code {client.returncode}\n{errors[-3000:]}")

    def stop(self, client: subprocess.Popen[str]) -> None:
        """Stop the run with Ctrl-C."""
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=WAIT_S)

    def events(self) -> list[dict[str, Any]]:
        """Return the event log of the last run; ``at`` is the wall-clock time in seconds, to a few milliseconds."""
        return timed_events(self.local / "events.jsonl")


def outcome(folder: Path) -> dict[str, float]:
    """Return the result of a chain's sink."""
    result: dict[str, float] = json.loads((folder / "result.json").read_text())
    return result


def until(predicate: Callable[[], Any], what: str, deadline_s: float = WAIT_S) -> Any:
    """Wait until a condition is true and return its value. Raises RuntimeError: it is not true in time."""
    deadline = time.monotonic() + deadline_s
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {deadline_s:g} s: {what}")
        time.sleep(0.01)
    return found
