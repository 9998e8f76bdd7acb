"""Shared parts of the failover tests: an in-process run with scripted faults, and the jobs.

`Stage.run` simulates a project of the fixture ``fission`` with real processes. Instead of faults
at fixed times, the run has a *script*: a coroutine beside the run, in the client's loop, that waits
for events and causes faults, through the FaultInjector and the engine that ``--kill``, ``--cut``
and ``--chaos`` use::

    async def script(stage: Stage) -> None:
        await stage.rows(50)                      # the sink's file has 50 rows
        stage.kill_job(2)
        await stage.until(lambda: stage.failovers, "a failover")

    ran = Stage(fission).run(script, nodes=2)

Afterwards nothing may remain: processes, files, shared memory, descriptors of this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from fission.adapters.local_engine import engine as local_engine
from fission.adapters.local_engine.node import Node
from fission.client import simulate
from fission.client.reports.summary import Summary
from fission.client.run.coordinator import Coordinator
from fission.client.run.faults import Chaos, FaultInjector, InjectedFault
from fission.ports import NodeName, Observer
from fission.project.config import load
from tests.deadlines import Deadline
from tests.e2e.support import COMMON_JOBS, GONE_S, IMPORTS, network, remains, rows
from tests.waiting import CommandLine, eventually

#: Maximum wait of a script. Arbitrary: far above a busy machine's needs, below pytest's limit.
WAIT_S = 25.0

#: RESTARTS for repeated kills; the window makes each failure count as the first: no back-off.
OFTEN = "RESTARTS = 1000\nRESTART_WINDOW = 0.001\n"
#: The same with patient pulses: a busy machine loses no node. For deaths seen without pulses.
PATIENT = OFTEN + "PULSE_INTERVAL = 2\n"

JOBS = """
class Numbers(PythonJob):
    '''1 to limit, and then the end; resumes.'''
    CHECKPOINT = 20
    def __init__(self, limit, *args, pace=0.002, **kwargs):
        super().__init__(*args, **kwargs)
        self.limit, self.pace = limit, pace
    def setup(self, *args, **kwargs):
        self.number = 0
    def run(self):
        self.number += 1
        time.sleep(self.pace)
        if self.number == self.limit:
            self.finish()
        return self.number

class Forgetful(Numbers):
    '''The same, but a new incarnation begins at 1.'''
    CHECKPOINT = None

class Gated(Numbers):
    '''Runs up to a number, the last but one by default, until a file "go" in its folder has a greater one.'''
    def __init__(self, limit, *args, upto=None, **kwargs):
        super().__init__(limit, *args, **kwargs)
        self.upto = upto or limit - 1
    def run(self):
        while self.number >= self.upto:
            time.sleep(0.005)
            if os.path.exists("go"):
                with open("go") as file:
                    self.upto = int(file.read())
        return super().run()

class Until(Numbers):
    '''Numbers until there is a file "stop" in its folder.'''
    def __init__(self, *args, **kwargs):
        super().__init__(0, *args, **kwargs)
    def run(self):
        if os.path.exists("stop"):
            self.finish()
        return super().run()

class Generates(PythonJob):
    '''A generator cannot resume, whatever it asks for.'''
    CHECKPOINT = 20
    def __init__(self, limit, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.limit = limit
    def run(self):
        for number in range(1, self.limit + 1):
            time.sleep(0.002)
            yield number

class Twos(PicklePipe):
    BLOCK_COUNT = 2

class Double(PythonJob):
    def run(self, value):
        return 2 * value

class AddPair(PythonJob):
    def run(self, pair):
        return sum(pair)

class Relay(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "relay.sh"
    DEPENDENCIES = "net/source"

class Total(PythonJob):
    CHECKPOINT = 15
    def setup(self, *args, **kwargs):
        self.total = 0
    def run(self, value):
        self.total += value
        return self.total

class Join(PythonJob):
    CHECKPOINT = 15
    def setup(self, *args, **kwargs):
        self.total = 0
    def run(self, pair, one):
        self.total += sum(pair) + one
        return self.total

class Pass(PythonJob):
    def run(self, value):
        return value
"""
RELAY = {"net/source/relay.sh": "exec cat <$2 >$4\n"}

#: source -> executable -> connector -> stateful -> sink; ids 1 to 5.
CHAIN = """
Numbers({limit}, outputs=[JSONPipe(1)]),
Relay(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
Double(inputs=[JSONPipe(2)], outputs=[PicklePipe(3)]),
Total(inputs=[PicklePipe(3)], outputs=[PicklePipe(4)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(4)]),
"""
#: A source, two ways with different BLOCK_COUNTs, a stateful join, a sink; ids 1 to 5.
DIAMOND = """
Numbers({limit}, outputs=[PicklePipe(1), Twos(2)]),
Double(inputs=[PicklePipe(1)], outputs=[Twos(3)]),
AddPair(inputs=[Twos(2)], outputs=[PicklePipe(4)]),
Join(inputs=[Twos(3), PicklePipe(4)], outputs=[PicklePipe(5)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(5)]),
"""


def project_of(listed: str, jobs: str = "", extra: str = OFTEN) -> dict[str, str]:
    """Return the files of a network of these jobs."""
    files = network(jobs, listed, extra=extra) | RELAY
    path = "net/jobs/jobs.py"
    files[path] = IMPORTS + JOBS + files[path].removeprefix(IMPORTS)
    assert COMMON_JOBS in files[path]
    return files


def gated(listed: str, upto: int = 0) -> str:
    """Return the same jobs, with a source that ends only after `Stage.let_end`.

    Faults thus always meet a running network.

    Args:
        listed: the entries of JOBS.
        upto: number that the source does not pass before `Stage.let_go`.
    """
    return listed.replace("Numbers({limit}", f"Gated({{limit}}, upto={upto}")


def chain_rows(limit: int) -> list[int]:
    """Return what the chain's sink must receive."""
    total, found = 0, []
    for number in range(1, limit + 1):
        total += 2 * number
        found.append(total)
    return found


def diamond_rows(limit: int) -> list[int]:
    """Return what the diamond's sink must receive."""
    total, found = 0, []
    for first in range(1, limit, 2):
        total += 3 * (first + first + 1)
        found.append(total)
    return found


def csv_of(values: Sequence[Any], pipe: int) -> bytes:
    """Return a CSVSinkJob's file with one column."""
    return f"pipe_{pipe}\r\n".encode() + b"".join(f"{value}\r\n".encode() for value in values)


@dataclass
class Ran:
    """A completed run. `console` has the lines of the console: (kind, text)."""

    summary: Summary
    console: list[tuple[str, str]]
    result: Path
    root: Path

    @property
    def failovers(self) -> list[str]:
        return [text for kind, text in self.console if kind == "failover"]

    @property
    def failed(self) -> list[str]:
        return [text for kind, text in self.console if kind == "failed"]

    def printed(self, job: int) -> list[str]:
        return [text for kind, text in self.console if kind == f"output {job}"]

    def restarts(self, job: int) -> int:
        return self.summary.jobs[job].restarts

    def __str__(self) -> str:
        return "\n".join([*(f"{kind}: {text}" for kind, text in self.console), *self.summary.lines()])


class _Recorder(Observer):
    def __init__(self) -> None:
        self.console: list[tuple[str, str]] = []

    def job_output(self, job: str, job_id: int, stream: str, line: str) -> None:
        self.console.append((f"output {job_id}", line))

    def job_failed(self, job: str, job_id: int, report: str) -> None:
        self.console.append(("failed", f"{job}: {report}"))

    def failover(self, text: str) -> None:
        self.console.append(("failover", text))

    def notice(self, text: str) -> None:
        self.console.append(("notice", text))

    def warning(self, text: str) -> None:
        self.console.append(("warning", text))


@dataclass
class Stage:
    """One run, and the actions of its script."""

    fission: CommandLine
    sink: int = 5
    injector: FaultInjector = field(init=False)
    engine: Any = field(init=False)
    #: The engine's view of each virtual node, including lost ones; of a revived node, its newest incarnation.
    virtual_nodes: dict[str, Node] = field(init=False, default_factory=dict)
    coordinator: Coordinator = field(init=False)

    def __post_init__(self) -> None:
        self._recorder = _Recorder()

    # for the script

    @property
    def console(self) -> list[tuple[str, str]]:
        return self._recorder.console

    @property
    def failovers(self) -> list[str]:
        return [text for kind, text in self.console if kind == "failover"]

    def folder(self, job: int) -> Path:
        return self.fission.root / "net" / "simulation" / str(job)

    @property
    def result(self) -> Path:
        return self.folder(self.sink) / "result.csv"

    def row_count(self) -> int:
        return max(0, len(rows(self.result)) - 1)

    async def until(self, predicate: Callable[[], Any], what: str, deadline_s: float = WAIT_S) -> Any:
        """Wait until the predicate holds; an AssertionError ends the run and fails the test."""
        deadline = Deadline(deadline_s)
        while not (found := predicate()):
            if deadline.over:
                raise AssertionError(f"not within {deadline_s:g} s: {what}\n" + "\n".join(map(str, self.console)))
            await asyncio.sleep(0.004)
        return found

    async def rows(self, count: int) -> None:
        await self.until(lambda: self.row_count() >= count, f"{count} rows")

    def node_of(self, job: int) -> str:
        """Return the node with the newest incarnation of a job; empty if there is none."""
        incarnations = [
            (incarnation, name) for name, node in self.virtual_nodes.items() for (number, incarnation) in node.running if number == job
        ]
        return max(incarnations)[1] if incarnations else ""

    def incarnations(self, job: int) -> list[int]:
        """Return the incarnations of a job whose processes the engine knows to run, on any node."""
        return sorted(incarnation for node in self.virtual_nodes.values() for (number, incarnation) in node.running if number == job)

    def pid_of(self, job: int) -> int:
        found = [
            (incarnation, running.process)
            for node in self.virtual_nodes.values()
            for (number, incarnation), running in node.running.items()
            if number == job
        ]
        return max(found)[1] if found else 0

    async def running(self, *jobs: int) -> None:
        """Wait until each of these jobs has a process."""
        await self.until(lambda: all(self.pid_of(job) for job in jobs), f"processes of {jobs}")

    def let_go(self, upto: int) -> None:
        """Let the source of a `gated` network continue up to this number."""
        fresh = self.folder(1) / "go-new"
        fresh.write_text(str(upto))
        fresh.replace(self.folder(1) / "go")

    def let_end(self) -> None:
        """Let the source of a `gated` network send all its numbers."""
        self.let_go(1_000_000)

    def kill_program(self, job: int) -> bool:
        """Kill what an ExecutableJob has started; return whether there was anything."""
        try:
            found = psutil.Process(self.pid_of(job)).children() if self.pid_of(job) else []
            for process in found:
                process.kill()
        except psutil.NoSuchProcess:
            return False
        return bool(found)

    def kill_job(self, job: int) -> bool:
        return bool(self.engine.kill_job(job))

    def kill_node(self, node: str) -> bool:
        return bool(self.engine.kill_node(NodeName(node)))

    async def revive(self, node: str) -> None:
        await self.until(lambda: self.virtual_nodes[node].lost, f"the loss of node {node}")
        await self.engine.revive(NodeName(node))

    async def fault(self, kind: str, target: str, duration_s: float = 0.0) -> None:
        """Cause a fault as the options do; return after its duration."""
        await self.injector.inject(InjectedFault(kind, target, 0.0, duration_s))

    # the run

    def run(self, script: Callable[[Stage], Awaitable[None]] | None = None, nodes: int = 0, *, chaos: Chaos | None = None) -> Ran:
        """Run the network net of the fixture's project to its end; raise the script's errors."""
        stage, errors = self, []

        async def scripted(coordinator: Coordinator) -> None:
            stage.coordinator, stage.engine = coordinator, coordinator.engine
            names, jobs = [str(number) for number in range(1, nodes + 1)], sorted(coordinator.jobs)
            stage.injector = FaultInjector(stage.engine, coordinator.observer, names, jobs)
            try:
                if script is not None:
                    await script(stage)
                await stage.injector.run((), chaos)
            except Exception as why:
                errors.append(why)
                os.kill(os.getpid(), signal.SIGINT)  # the run has become useless
                raise

        def recorded(name: NodeName, *arguments: Any) -> Node:
            self.virtual_nodes[name] = node = Node(name, *arguments)
            return node

        before = descriptors()
        loaded = load(self.fission.root, "net", simulation=True)
        with mock.patch.object(local_engine, "Node", recorded):
            summary = simulate(loaded, observer=self._recorder, stdin=False, nodes=nodes, duration=40, companions=[scripted])
        ran = Ran(summary, self.console, self.result, self.fission.root)
        if errors:
            raise AssertionError(f"{errors[0]}\n{ran}") from errors[0]
        root = self.fission.root
        eventually(lambda: not remains(root), GONE_S, lambda: "nothing is left; there is " + "; ".join(remains(root)))
        gc.collect()
        assert descriptors() - before == set(), "descriptors of the client are left"
        return ran


def random_faults(rng: random.Random, faults: int, rows: int, jobs: int = 5, nodes: int = 3) -> Callable[[Stage], Awaitable[None]]:
    """Return a script of random faults before the sink has ``rows`` rows.

    It kills jobs and nodes, and stops and resumes nodes and processes, several at a time.
    """

    async def script(stage: Stage) -> None:
        running: set[asyncio.Task[None]] = set()
        for number in range(faults):
            due = rows * number // (faults + 4)
            # at a random moment, but early enough for all faults to fit into the run
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stage.rows(due), rng.uniform(0.0, 0.35))
            kind = rng.choice(["kill job", "kill job", "kill node", "cut", "stop"])
            if kind == "stop":
                pid = stage.pid_of(rng.randint(1, jobs))
                task = asyncio.create_task(stop_process(pid, rng.uniform(0.05, 0.6)))
            else:
                target = str(rng.randint(1, jobs) if kind == "kill job" else rng.randint(1, nodes))
                task = asyncio.create_task(stage.fault(kind, target, rng.uniform(0.05, 1.0)))
            running.add(task)
        await asyncio.gather(*running)

    return script


def killed_at_once(pairs: Sequence[tuple[int, int]]) -> Callable[[Stage], Awaitable[None]]:
    """Return a script for a `gated` network: kill two jobs at once, one pair after the other.

    The next pair follows when the sink has 40 more rows.
    """

    async def script(stage: Stage) -> None:
        for number, pair in enumerate(pairs):
            await stage.rows(number * 40 + 20)
            await stage.running(*pair)
            for job in pair:
                stage.kill_job(job)
            await stage.until(lambda: len(stage.failovers) >= 2 * number + 2, "both failovers")  # noqa: B023
        stage.let_end()

    return script


async def stop_process(pid: int, seconds: float) -> None:
    """Send SIGSTOP, then SIGCONT."""
    if pid:
        try:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        except ProcessLookupError:
            return
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def descriptors() -> set[str]:
    """Return this process's open descriptors and their targets; sockets and pipes by inode."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


def events(root: Path) -> list[dict[str, Any]]:
    """Return the run's event log."""
    return [json.loads(line) for line in (root / "net/simulation/events.jsonl").read_text().splitlines()]


def job_process(client: int, job: int) -> psutil.Process | None:
    """Return the process of a client's job, found by its working folder."""
    for process in psutil.Process(client).children(recursive=True):
        try:
            if Path(process.cwd()).name == str(job) and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            continue
    return None


def seeded(seed: int) -> random.Random:
    """Return a random generator whose seed a failing test shows."""
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(seed)
