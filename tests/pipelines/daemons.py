"""Real daemons for tests: a Router, Brokers and Pipeliners as processes that tests can kill.

``Cluster(tmp_path)`` writes a module of workers and a store into the folder and starts daemons
there; they can be started again. Every job appends a line to ``runs.jsonl`` when it begins
(``begin``), when its work is done (``end``) and when the store has saved its result (``save``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

import fission
from fission.adapters.zmq_api import ApiClient
from fission.pipelines import PipelineManager
from fission.pipelines.daemon import protect_with, read_keys
from fission.pipelines.errors import PipelineRefused, RouterAnswer, RouterUnreachable
from fission.protocol.messages.pipelines.wire import decode_object, encode
from tests.ports import free_ports
from tests.waiting import eventually, is_running

WORKERS = '''
import os
import time

from pypelinin import Worker
from store import note

__all__ = ["A", "B", "C", "D", "Bad", "Once", "Slow", "Wait", "Dies", "Exits", "Stuck", "Leaves", "Closes", "World", "Spoils"]


class A(Worker):
    requires = ["x"]

    def process(self, data):
        note("begin", type(self).__name__, data)
        return {type(self).__name__: sorted(data["data"] or ())}


class B(A): pass
class C(A): pass
class D(A): pass


class Bad(Worker):
    def process(self, data):
        note("begin", "Bad", data)
        raise ValueError(f"cannot do {data['data']}")


class Once(Worker):
    """Raises on its first try, whatever process that is in."""

    def process(self, data):
        note("begin", "Once", data)
        try:
            open(data["data"]["file"], "x").close()
        except FileExistsError:
            return {"tries": 2}
        raise RuntimeError("the first try")


class Slow(Worker):
    def process(self, data):
        note("begin", "Slow", data)
        time.sleep(data["data"].get("seconds", 60))


class Wait(Worker):
    """Waits until a file is there."""

    def process(self, data):
        note("begin", "Wait", data)
        while not os.path.exists(data["data"]["file"]):
            time.sleep(0.01)
        note("end", "Wait", data)
        return {"waited": True}


class Dies(Worker):
    def process(self, data):
        note("begin", "Dies", data)
        os.kill(os.getpid(), 9)


class Leaves(Worker):
    def process(self, data):
        note("begin", "Leaves", data)
        os._exit(data["data"]["code"])


class Closes(Worker):
    """Ends well, but leaves a process that can no longer send its result."""

    def process(self, data):
        note("begin", "Closes", data)
        os.closerange(3, 1000)


class World(Worker):
    """What a job finds."""

    def process(self, data):
        from process_description import describe

        note("world", "World", {**data, "data": describe()})


class Spoils(Worker):
    """Changes what it can of its process; needs the main thread for that."""

    def process(self, data):
        import resource, signal, socket, sys

        note("begin", "Spoils", data)
        os.chdir("/")
        os.umask(0o777)
        os.environ["SPOILED"] = "yes"
        os.environ.pop("RUNS")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        sys.path.clear()
        sys.argv.append("spoiled")
        sys.setrecursionlimit(400)
        sys.stdout = sys.stderr = None
        socket.setdefaulttimeout(0.001)


class Exits(Worker):
    def process(self, data):
        raise SystemExit("goodbye")


class Stuck(Worker):
    """Holds the interpreter in C: no other thread of its process runs."""

    def process(self, data):
        note("begin", "Stuck", data)
        sum(range(10 ** 11))
'''

DIAMONDS = """
import os
import time

from pypelinin import Worker

__all__ = ["Top", "Left", "Right", "Bottom"]


class Timed(Worker):
    def process(self, data):
        time.sleep(float(os.environ.get("JOB_S", "0")))
        return self.compute(**data)


class Top(Timed):
    requires = ["x"]

    def compute(self, x):
        return {"top": x + 1}


class Left(Timed):
    requires = ["top"]

    def compute(self, top):
        return {"left": top * 2}


class Right(Timed):
    requires = ["top"]

    def compute(self, top):
        return {"right": top * 3}


class Bottom(Timed):
    requires = ["left", "right"]

    def compute(self, left, right):
        return {"bottom": [left, right, left + right]}
"""

STORE = '''
import json
import os

from fission.pipelines.stores import SQLStore

RUNS = os.environ["RUNS"]


def note(what, worker, info):
    line = json.dumps({"what": what, "worker": worker, "job": info["job id"], "data": info["data"], "pid": os.getpid()}) + "\\n"
    descriptor = os.open(RUNS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class Store:
    def __init__(self, **arguments):
        self.arguments = arguments

    def retrieve(self, info):
        return info

    def save(self, info):
        note("save", info["worker"], info)

    def save_monitoring(self, data):
        with open(self.arguments["monitoring"], "a") as file:
            file.write(json.dumps(data) + "\\n")


class DiamondStore(SQLStore):
    def retrieve(self, info):
        note("begin", info["worker"], info)
        return super().retrieve(info)

    def save(self, info):
        super().save(info)
        note("save", info["worker"], info)


class BrokenStore(Store):
    """Raises where its data say so."""

    def retrieve(self, info):
        if info["data"]["breaks"] == "retrieve":
            raise OSError("the store is gone")
        return info

    def save(self, info):
        if info["data"]["breaks"] == "save":
            raise OSError("the store is full")
        super().save(info)

    def save_monitoring(self, data):
        raise OSError("no monitoring")


class HangingStore(Store):
    parallel = True

    def save_monitoring(self, data):
        import time
        time.sleep(60)


class OneFile(Store):
    """As published: it reads a file, changes what it has, and writes it."""

    def __init__(self, folder, **arguments):
        super().__init__(**arguments)
        self.file = os.path.join(folder, "values.json")
        with open(os.path.join(folder, "made"), "a") as made:
            made.write(f"{os.getpid()}\\n")

    def save(self, info):
        import time

        values = {}
        if os.path.exists(self.file):
            with open(self.file) as file:
                values = json.load(file)
        time.sleep(0.05)
        values[str(info["data"]["n"])] = info["worker_result"]
        with open(self.file, "w") as file:
            json.dump(values, file)


class OneFileInParallel(OneFile):
    parallel = True


class DyingStore(Store):
    def retrieve(self, info):
        if info["data"]["breaks"] == "dies":
            os.kill(os.getpid(), 9)
        if info["data"]["breaks"] == "hangs":
            import time

            time.sleep(600)
        return info


class NoStore:
    def __init__(self, **arguments):
        raise ConnectionError("no database there")
'''

DAEMON = """
import json
import sys
from logging import Formatter, Logger, StreamHandler

import store
from pypelinin import Broker, Pipeliner, Router


def main(kind, arguments):
    logger = Logger(kind)
    handler = StreamHandler(sys.stdout)
    handler.setFormatter(Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logger.addHandler(handler)
    if kind == "Router":
        Router(tuple(arguments.pop("api")), tuple(arguments.pop("broadcast")), arguments.pop("config"), logger, **arguments).start()
    elif kind == "Broker":
        Broker(store_class=getattr(store, arguments.pop("store")), logger=logger, **arguments).start()
    else:
        Pipeliner(logger=logger, **arguments).start()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
"""


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file in use; an incomplete last line does not count."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Daemon:
    """A daemon's process and its output."""

    def __init__(self, kind: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.kind = kind
        self.process = process
        self.log = log

    @property
    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """Send SIGKILL to the daemon alone: processes that it started must end by themselves."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        eventually(lambda: not any(is_running(child.pid) for child in children), 5, f"the end of the {self.kind}'s processes")

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the {self.kind} did not end:\n{self.said}") from None


class Cluster:
    """A context manager; see the head of this file."""

    def __init__(
        self, folder: Path, *, prefix: Mapping[str, list[str]] | None = None, host: str = "127.0.0.1", keys: Path | None = None
    ) -> None:
        self.folder = folder
        self.host = host
        self.keys = keys  # default keys of all daemons
        self.prefix = prefix or {}  # words before a daemon's command, by its place
        self.ports = free_ports(2)
        self.runs_file = folder / "runs.jsonl"
        self.daemons: list[Daemon] = []
        self.environment: dict[str, str] = {}
        for name, text in {"workers.py": WORKERS, "diamonds.py": DIAMONDS, "store.py": STORE, "daemon.py": DAEMON}.items():
            (folder / name).write_text(text)
        shutil.copy(Path(__file__).with_name("process_description.py"), folder)
        self.config: dict[str, Any] = {"store": {"monitoring": str(folder / "monitoring.jsonl")}, "monitoring interval": 0.5}

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons):
            with contextlib.suppress(AssertionError):
                daemon.end()
        for daemon in self.daemons:
            daemon.process.wait()

    @property
    def api(self) -> str:
        return f"tcp://{self.host}:{self.ports[0]}"

    @property
    def broadcast(self) -> str:
        return f"tcp://{self.host}:{self.ports[1]}"

    def start(self, kind: str, place: str = "", **arguments: Any) -> Daemon:
        """Start a daemon; *place* names its host, if there are several."""
        if kind == "Router":
            given = {"api": [self.host, self.ports[0]], "broadcast": [self.host, self.ports[1]], "config": self.config}
            given["state"] = str(self.folder / "state.sqlite")
        else:
            given = {"api": self.api, "broadcast": self.broadcast}
        if self.keys is not None:
            given["keys"] = str(self.keys)
        if kind == "Broker":
            given |= {"store": "Store", "workers": "workers", "number_of_workers": 2}
        log = self.folder / f"{len(self.daemons)}-{kind}.log"
        path = os.pathsep.join([str(Path(fission.__path__[0]).parent), str(self.folder)])
        environment = {**os.environ, "PYTHONPATH": path, "RUNS": str(self.runs_file), "PYTHONUNBUFFERED": "1", **self.environment}
        command = [*self.prefix.get(place, []), sys.executable, str(self.folder / "daemon.py"), kind, json.dumps({**given, **arguments})]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        daemon = Daemon(kind, process, log)
        self.daemons.append(daemon)
        return daemon

    def all(self, **broker: Any) -> tuple[Daemon, Daemon, Daemon]:
        """Start a Router, a Broker and a Pipeliner; return them when they are ready."""
        found = self.start("Router"), self.start("Broker", **broker), self.start("Pipeliner")
        self.ready(broker.get("number_of_workers", 2))
        return found

    def ready(self, processes: int = 2, pipeliners: int = 1) -> dict[str, Any]:
        """Wait for this many worker processes and Pipeliners."""

        def there() -> dict[str, Any] | None:
            with contextlib.suppress(Exception):
                status = self.ask(command="status")
                if status["processes"] >= processes and status["pipeliners"] >= pipeliners and status["brokers"]:
                    return status
            return None

        return eventually(there, 60, lambda: "a ready cluster\n" + self.logs())

    def ask(self, **message: Any) -> dict[str, Any]:
        client = ApiClient(self.api, protect_with(read_keys(self.keys)))
        try:
            data = client.request(encode(message), 5)
        finally:
            client.close()
        if data is None:
            raise RouterUnreachable(self.api, 5)
        answer = decode_object(data)
        if answer.get("answer") == "error":
            raise (PipelineRefused if answer["kind"] == "refused" else RouterAnswer)(answer["error"])
        return answer

    def show(self, pipeline: str | None) -> dict[str, Any]:
        return self.ask(**{"command": "pipeline", "pipeline id": pipeline})

    def manager(self, **arguments: Any) -> PipelineManager:
        return PipelineManager(self.api, self.broadcast, **{"keys": self.keys, "timeout": 60, **arguments})

    def runs(self, what: str | None = None, worker: str | None = None) -> list[dict[str, Any]]:
        """Return the lines that the jobs have recorded."""
        found = whole_lines(self.runs_file)
        return [one for one in found if what in (None, one["what"]) and worker in (None, one["worker"])]

    def logs(self) -> str:
        return "\n".join(f"--- {daemon.log.name}\n{daemon.said[-3000:]}" for daemon in self.daemons)
