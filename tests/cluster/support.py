"""Shared parts of the tests of whole networks on several hosts: real ``fission node`` services, a real ``run``, and waits for them.

::

    def test_a_killed_service(cluster):
        site = cluster(3)                              # three hosts, a service on each; the fixture ends everything
        client = site.run(CHAIN.format(limit=0))       # `manage.py net run` on this machine; 0: until `finish`
        site.rows(60)                                  # the sink's file has this many rows
        site.nodes[site.node_of(3)].kill()
        site.finish(client, chain_rows)                # exit code 0, and the file is exactly this; nothing else is left

Hosts share this machine's disk: each service has its own folder, ``ROOT/NAME``, from which its jobs must import everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from fission.adapters.keys import make_keys
from tests.cluster.hosts import Host, Hosts
from tests.deadlines import Deadline
from tests.e2e.failover import OFTEN, csv_of, project_of
from tests.waiting import CommandLine, Finished, Running, environment_with, eventually

T = TypeVar("T")

#: Ends when a file exists: a run takes as long as its test needs. Arguments as of `Numbers`, but for the first: the file.
ENDS_BY_FILE = '''
class EndsByFile(Numbers):
    def __init__(self, path, *args, **kwargs):
        super().__init__(0, *args, **kwargs)
        self.path = path
    def most(self, number):
        """The highest number that any incarnation has run: a new one begins behind it."""
        file = os.open(self.path + ".most", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            most = max(number, int(os.pread(file, 20, 0) or 0))
            if most == number:
                os.pwrite(file, b"%020d" % number, 0)
            return most
        finally:
            os.close(file)
    def run(self):
        most = self.most(self.number + 1) if self.CHECKPOINT else self.number + 1
        if self.number % 10 == 9 and os.path.exists(self.path):
            try:
                os.symlink(str(-(-most // 10) * 10), self.path + ".number")  # the first incarnation that sees it fixes the end for all
            except FileExistsError:
                pass
            if self.number + 1 >= int(os.readlink(self.path + ".number")):
                self.finish()
        return super().run()

class Forgets(EndsByFile):
    CHECKPOINT = None
'''

#: How `fission` is started.
FISSION = (sys.executable, "-m", "fission")
#: Seconds that one action may take on a busy machine; arbitrary.
WAIT_S = 30.0
#: Seconds that stopped jobs of a run may take to end; arbitrary.
GONE_S = 5.0


class Node:
    """A host with its service.

    Attributes:
        name: name of the service.
        root: its folder.
        log_file: file that it logs to.
        process: the service; None before `start`.
    """

    def __init__(self, host: Host, name: str, folder: Path, client_ip: str, env: dict[str, str | None]) -> None:
        # its own, as a machine that loses its power leaves what is there; a short path, because sockets are made there
        self.temp = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.host, self.name, self.client_ip = host, name, client_ip
        self.root = folder / name
        self.log_file = folder / f"{name}.log"
        self.process: Any = None
        self.killed = False
        self._env = {**env, "TMPDIR": str(self.temp)}

    @property
    def ip(self) -> str:
        """The address of its host."""
        return self.host.ip

    @property
    def log(self) -> str:
        """What all incarnations of the service have logged."""
        with contextlib.suppress(FileNotFoundError):
            return self.log_file.read_text(encoding="utf-8")
        return ""

    def start(
        self,
        *options: str,
        jobs: int = 8,
        root: Path | None = None,
        env: dict[str, str | None] | None = None,
        program: Sequence[str] = FISSION,
    ) -> None:
        """Start the service in a folder outside the project. ``root``: a folder other than its own; empty: none."""
        words = ["--client", self.client_ip, "--name", self.name, "--jobs", str(jobs), "--announce", "none", *options]
        words += [] if root == Path() else ["--root", str(root or self.root)]
        environment = environment_with({**self._env, **(env or {})})
        command = [*program, "node", *words]
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_file, "ab") as log:
            self.process = self.host.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment)

    def logged(self, text: str, count: int = 1) -> None:
        """Wait until it has logged this many lines with this text."""
        eventually(lambda: self.log.count(text) >= count, WAIT_S, lambda: f"{count} x {text!r} in the log of {self.name}:\n{self.log}")

    def job(self, number: int, network: str = "net") -> psutil.Process | None:
        """Return the process of a job on this host, found by its working folder; the youngest if there are two."""
        found = []
        for pid in self.host.pids():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if Path(process.cwd()) == self.root / network / str(number) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append((process.create_time(), pid, process))
        return max(found)[2] if found else None

    def jobs(self, network: str = "net") -> set[int]:
        """Return the jobs that have a process here."""
        found = set()
        for pid in self.host.pids():
            with contextlib.suppress(psutil.Error, ValueError):
                process = psutil.Process(pid)
                folder = Path(process.cwd())
                if folder.parent == self.root / network and process.status() != psutil.STATUS_ZOMBIE:
                    found.add(int(folder.name))
        return found

    def signal(self, number: int) -> None:
        """Send a signal to every process on the host."""
        for pid in self.host.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def left(self) -> list[Path]:
        """Return what a service that ended in order has left in its folder for temporary files."""
        ended = self.process is not None and self.process.poll() == 0
        return [path for path in self.temp.iterdir() if path.name.startswith("fission")] if ended and not self.killed else []

    def kill(self) -> None:
        """Send SIGKILL to the service alone."""
        self.killed = True
        self.process.kill()
        self.process.wait(WAIT_S)

    def power_off(self) -> None:
        """Cut the power of its host."""
        self.killed = True
        self.host.kill()

    def stop(self) -> None:
        """Send SIGTERM to the service; it must end in order."""
        self.process.terminate()
        assert self.process.wait(WAIT_S) == 0, self.log


class Site:
    """Hosts, their services, a project and its runs. Made by the fixture ``cluster``.

    Attributes:
        client: the host where `run` starts the client; None: this machine.
    """

    def __init__(
        self, fission: CommandLine, network: Hosts, folder: Path, *, start: bool = True, secure: bool = True, jobs: int = 8
    ) -> None:
        self.fission, self.network, self.secure = fission, network, secure
        self.folder = folder
        self.keys = folder / "keys"
        make_keys(self.keys)
        self.env: dict[str, str | None] = {"FISSION_KEYS": str(self.keys), "HOME": str(folder)}
        self.nodes: dict[str, Node] = {}
        self.client: Host | None = None  # this machine
        for index, host in enumerate(network, 1):
            name = f"n{index}"
            self.nodes[name] = Node(host, name, folder / "hosts", network.client_ip, self.env)
            if start:
                self.nodes[name].start(jobs=jobs)

    def __getitem__(self, number: int) -> Node:
        """Return the node with this number, from 1."""
        return self.nodes[f"n{number}"]

    # the project

    @property
    def config(self) -> str:
        """Return the config's lines for all nodes, each by its own name, with twice the default pulse interval for busy machines."""
        listed = ", ".join(f"BaseNode({node.ip!r}, name={node.name!r})" for node in self.nodes.values())
        lines = ["from fission.core.nodes import *", f"CLIENT_IP = {self.network.client_ip!r}", f"NODES = [{listed}]"]
        return "\n".join([*lines, f"SECURITY = {self.secure}", "PULSE_INTERVAL = 0.2"])

    def project(self, listed: str, jobs: str = "", extra: str = "", files: dict[str, str] | None = None, name: str = "project") -> None:
        """Make the project of the network ``net``; ``extra``: further lines of its config, which take precedence.

        `Numbers` of 0 run until `finish` is called.
        """
        for source, ending in (("Numbers", "EndsByFile"), ("Forgets", "Forgets")):
            listed = listed.replace(f"{source}(0", f"{ending}({str(self.end)!r}")
        jobs = ENDS_BY_FILE + textwrap.dedent(jobs)
        self.fission.project({**project_of(listed, jobs, f"{OFTEN}{self.config}\n{extra}\n"), **(files or {})}, name)

    @property
    def end(self) -> Path:
        """The file that ends sources without a limit, visible to all hosts."""
        return self.folder / "end"

    def start(self, *options: str, network: str = "net", program: Sequence[str] = FISSION) -> Running:
        """Start ``manage.py net run``, on the host `client` if that is set."""
        if self.client is None:
            return self.fission.start(network, "run", *options, env=self.env)
        words, pipe = (network, "run", *options), subprocess.PIPE
        command, streams = [*program, *words], {"stdin": pipe, "stdout": pipe, "stderr": pipe}
        process = self.client.run(command, cwd=self.fission.root, env=environment_with(self.env), **streams)
        self.fission.commands.append(Running(words, process, None))
        return self.fission.commands[-1]

    def run(self, listed: str, jobs: str = "", extra: str = "", files: dict[str, str] | None = None, name: str = "project") -> Running:
        """Make the project and run it."""
        self.project(listed, jobs, extra, files, name)
        return self.start()

    # what happens

    @property
    def local(self) -> Path:
        """The folder of the last run."""
        return self.fission.root / "net" / "local"

    def events(self, what: str = "") -> list[dict[str, Any]]:
        """Return the run's event log, or one kind of its entries."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.local / "events.jsonl").read_text(encoding="utf-8")
            entries = [json.loads(line) for line in text.split("\n")[:-1]]
            return [entry for entry in entries if not what or entry["what"] == what]
        return []

    def incarnations(self) -> dict[int, tuple[int, str]]:
        """Return (incarnation, node) of the newest incarnation of each job."""
        return {entry["job"]: (entry["incarnation"], entry["node"]) for entry in self.events("Launch")}

    def node_of(self, job: int) -> str:
        """Return the node of the newest incarnation of a job; wait for the first one."""
        return self.until(lambda: self.incarnations().get(job), f"a launch of job {job}")[1]

    def until(self, predicate: Callable[[], T], what: str | Callable[[], str], deadline_s: float = WAIT_S) -> T:
        """Wait until the predicate is true; the error shows the logs. If *what* is a function, only then it is called."""
        return eventually(predicate, deadline_s, lambda: f"{what() if callable(what) else what}\n{self.logs()}")

    def happened(self, what: str, count: int = 1, deadline_s: float = WAIT_S, **members: Any) -> list[dict[str, Any]]:
        """Wait for this many entries of the event log."""

        def found() -> list[dict[str, Any]]:
            entries = [one for one in self.events(what) if all(one.get(key) == value for key, value in members.items())]
            return entries if len(entries) >= count else []

        return self.until(found, f"{count} x {what} {members or ''}", deadline_s)

    def result(self, sink: int = 5, name: str = "result.csv") -> Path:
        """Return the file of a sink."""
        return self.local / str(sink) / name

    def row_count(self, sink: int = 5) -> int:
        """Return the number of rows without the header."""
        with contextlib.suppress(FileNotFoundError):
            return max(0, self.result(sink).read_bytes().count(b"\n") - 1)
        return 0

    def rows(self, count: int, sink: int = 5, deadline_s: float = WAIT_S) -> None:
        """Wait until the sink's file has this many rows."""
        self.until(lambda: self.row_count(sink) >= count, lambda: f"{count} rows, there are {self.row_count(sink)}", deadline_s)

    def more_rows(self, count: int, sink: int = 5) -> None:
        """Wait for this many more rows."""
        self.rows(self.row_count(sink) + count, sink)

    def lost_nodes(self) -> list[str]:
        """Return the nodes that were judged lost, in order."""
        return [entry["node"] for entry in self.events("NodeLost")]

    # ends

    def wait(self, client: Running, exit_code: int | None = 0) -> Finished:
        """End the sources, and wait for the end of the client."""
        self.end.touch()
        try:
            return client.wait(WAIT_S + 15, exit_code=exit_code)
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.logs()}") from None

    def finish(self, client: Running, expected: Callable[[int], Sequence[Any]], *, pipe: int = 4, sink: int = 5) -> Finished:
        """Wait for the end of the client, exit code 0.

        Args:
            expected: returns what the sink must have received for this many blocks of a source; with ``pipe``, its input, its
                file is compared byte by byte.

        No job's process may be left anywhere, and no service may have logged an error of ours.
        """
        done = self.wait(client)
        found = self.result(sink).read_bytes()
        wanted = csv_of(expected(self.blocks()), pipe)
        assert found == wanted, f"{_difference(found, wanted)}\n{done}\n{self.logs()}"
        self.no_jobs_left()
        assert "Traceback" not in "".join(node.log for node in self.nodes.values()), self.logs()
        return done

    def blocks(self) -> int:
        """Return the number of blocks that the sources have sent."""
        return int(os.readlink(f"{self.end}.number"))

    def no_jobs_left(self, names: Iterable[str] = ()) -> None:
        """Wait until no job has a process on these nodes (all of them by default)."""
        left = lambda: {name: jobs for name in names or self.nodes if (jobs := self.nodes[name].jobs())}  # noqa: E731
        self.until(lambda: not left(), f"no job's process is left: {left()}", GONE_S)

    def logs(self) -> str:
        """Return all logs."""
        parts = [f"--- {node.name}\n{node.log[-3000:]}" for node in self.nodes.values()]
        for node in self.nodes.values():
            with contextlib.suppress(OSError):
                parts.append(f"--- jobs on {node.name}\n" + (node.root / "net" / "fission.log").read_text(encoding="utf-8")[-3000:])
        with contextlib.suppress(OSError):
            parts.append(f"--- the sink's file\n...{self.result().read_text()[-100:]}")
        with contextlib.suppress(OSError):
            parts.append("--- fission.log\n" + (self.local / "fission.log").read_text(encoding="utf-8")[-3000:])
        events = [json.dumps(one) for one in self.events() if one["what"] not in ("Hello", "Wire", "Ended", "Replayed")]
        parts.append("--- events\n" + "\n".join(events[-60:]))
        parts += [f"--- client\n{client.stdout[-1500:]}{client.stderr[-3000:]}" for client in self.fission.commands[-2:]]
        return "\n".join(parts)

    def close(self) -> None:
        """End the services, in order where they can; called by the fixture."""
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                node.signal(signal.SIGCONT)
                node.process.terminate()
        deadline = Deadline(GONE_S)
        for node in self.nodes.values():
            while node.process is not None and node.process.poll() is None and not deadline.over:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.process.wait(max(0.0, deadline.left_s))
        left = [str(path) for node in self.nodes.values() for path in node.left()]
        for node in self.nodes.values():
            shutil.rmtree(node.temp, ignore_errors=True)
        assert not left, f"services have left {left}"


def _difference(found: bytes, wanted: bytes) -> str:
    is_there, must_be = found.split(b"\r\n"), wanted.split(b"\r\n")
    for number, (one, other) in enumerate(zip(is_there, must_be, strict=False)):
        if one != other:
            return f"line {number + 1} is {one!r} instead of {other!r}; {len(is_there)} lines, {len(must_be)} expected"
    return f"{len(is_there)} lines instead of {len(must_be)}"
