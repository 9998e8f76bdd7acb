"""PRELOAD: what jobs get from modules that their fork server has imported, and what a module can do wrong at its import."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fission.adapters.local_engine import LocalEngine
from fission.adapters.local_engine.starting import FORK_SERVER_CODE
from fission.core.base import collecting
from fission.core.jobs import PythonJob
from fission.errors import UserError
from fission.ports import EngineNotice, JobExited, JobOutput, NodeGone, NodeName
from tests.faults.on_engine import DEADLINE_S, HERE, Ended, bundle, run_on_engine
from tests.waiting import eventually, is_running

LEASE = NodeName("net 1")
#: A module that notes each of its imports, with its process.
COUNTED = "import os\nwith open({!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
#: A fork server whose jobs keep the state of numpy's generator.
NOT_RENEWED = FORK_SERVER_CODE.replace(
    "sys.exit(", "import fission.runtime.job_fork_server as server; server.renew_random_numbers = int; sys.exit("
)
#: A fork server that forgets what it has imported.
FORGETFUL = FORK_SERVER_CODE.replace(
    "sys.exit(",
    "import fission.runtime.job_fork_server as server; load = server.preload; "
    "server.preload = lambda names: (load(names), [sys.modules.pop(name) for name in names])[0]; sys.exit(",
)
#: A fork server that also imports what its jobs import.
EAGER = FORK_SERVER_CODE.replace(
    "sys.exit(",
    "import fission.runtime.job_fork_server as server; load = server.preload; "
    "server.preload = lambda names: load([*names, 'counted']); sys.exit(",
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Return a function that creates an installed module of this name and text."""
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))

    def make(name: str, text: str) -> str:
        (tmp_path / "installed").mkdir(exist_ok=True)
        (tmp_path / "installed" / f"{name}.py").write_text(text)
        return name

    return make


class Imports(PythonJob):
    """Imports a module and says which process has imported it."""

    def run(self) -> None:
        import counted

        print(counted.os.getpid(), os.getppid(), flush=True)
        self.finish()


class Draws(PythonJob):
    """Draws a number from each global generator."""

    def run(self) -> None:
        import numpy.random

        print(random.random(), numpy.random.random(), flush=True)
        self.finish()


class Multiplies(PythonJob):
    """Multiplies matrices that are large enough for several threads."""

    def run(self) -> None:
        import numpy

        ones = numpy.ones((400, 400))
        print(int((ones @ ones).sum()), flush=True)
        self.finish()


def lines(ended: list[Ended]) -> list[str]:
    assert [one.report.outcome for one in ended] == ["finished"] * len(ended), ended
    return [line for one in ended for line in one.lines["stdout"]]


def imports(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()]


def imported_once(tmp_path: Path, module: Callable[[str, str], str], **engine: Any) -> bool:
    """Return whether only the fork server has imported the module of three jobs."""
    note = tmp_path / "imports"
    module("counted", COUNTED.format(str(note)))
    found = lines(run_on_engine([Imports() for _ in range(3)], tmp_path, user_modules=["counted"], **engine))
    (server,) = {int(line.split()[1]) for line in found}
    return imports(note) == [server]


def test_the_fork_server_imports_a_module_once_for_all_jobs(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    assert imported_once(tmp_path, module)


def test_a_fork_server_that_forgets_its_imports_would_be_noticed(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    assert not imported_once(tmp_path, module, program=FORGETFUL)


def imported_by_each(tmp_path: Path, module: Callable[[str, str], str], **engine: Any) -> bool:
    """Return whether each of three jobs has imported a module itself that is not listed, and their fork server has not."""
    note = tmp_path / "imports"
    module("counted", COUNTED.format(str(note)))
    module("listed", "")
    found = lines(run_on_engine([Imports() for _ in range(3)], tmp_path, user_modules=["listed"], **engine))
    (server,) = {int(line.split()[1]) for line in found}
    return len(set(imports(note))) == 3 and server not in imports(note)


def test_the_fork_server_imports_nothing_else_of_the_users(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    assert imported_by_each(tmp_path, module)


@pytest.mark.slow
@pytest.mark.soak
def test_a_fork_server_that_imports_more_would_be_noticed(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    assert not imported_by_each(tmp_path, module, program=EAGER)


def test_each_job_draws_random_numbers_of_its_own(tmp_path: Path) -> None:
    found = [line.split() for line in lines(run_on_engine([Draws() for _ in range(3)], tmp_path, user_modules=["numpy.random"]))]
    assert [len(set(drawn)) for drawn in zip(*found, strict=True)] == [3, 3]


def test_without_renewal_jobs_would_draw_the_same_numbers(tmp_path: Path) -> None:
    """The broken variant of the test before."""
    jobs = [Draws() for _ in range(3)]
    found = [line.split() for line in lines(run_on_engine(jobs, tmp_path, user_modules=["numpy.random"], program=NOT_RENEWED))]
    assert [len(set(drawn)) for drawn in zip(*found, strict=True)] == [3, 1]


def test_blas_works_in_jobs_although_its_threads_were_started_before_the_fork(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    module("multiplied", "import numpy\nones = numpy.ones((600, 600))\nassert (ones @ ones)[0, 0] == 600\n")
    notices: list[str] = []

    def noted(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        notices.extend(engine.notices)
        return False

    assert lines(run_on_engine([Multiplies(), Multiplies()], tmp_path, user_modules=["multiplied"], during=noted)) == ["64000000"] * 2
    assert not notices  # its threads end before the fork


LEAVES = """\
import socket, subprocess, threading, time
threading.Thread(target=time.sleep, args=(1e5,), daemon=True, name="poller").start()
listener = socket.socket()
table = open(__file__)
helper = subprocess.Popen(["sleep", "100000"])
print("imported")
"""


def test_what_a_module_leaves_running_or_open_is_said(tmp_path: Path, module: Callable[[str, str], str], capfd: Any) -> None:
    module("leaves", LEAVES)
    notices: list[str] = []
    ended = run_on_engine([Multiplies()], tmp_path, user_modules=["leaves"], during=lambda engine, _: bool(notices.extend(engine.notices)))
    assert lines(ended)
    threads, files, processes = list(dict.fromkeys(notices))
    assert threads.startswith("PRELOAD: leaves has left 1 thread (poller) running, which jobs do not have because")
    assert files.startswith(f"PRELOAD: leaves has left 2 files or sockets ({tmp_path}/installed/leaves.py, socket:[")
    assert processes.startswith("PRELOAD: leaves has started 1 process (sleep), which all jobs share")
    assert capfd.readouterr().out == ""  # a client's output may be JSON: what modules print goes to standard error


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "raise ValueError('no device')",
            "'bad', which cannot be imported: ValueError: no device; correct that, or remove it from PRELOAD",
        ),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("import sys; sys.exit(3)", "'bad', which cannot be imported: SystemExit: 3"),
        ("import os; os._exit(3)", "PRELOAD names a module that ends the process that imports it, one of json, bad; remove it"),
    ],
)
def test_an_import_that_fails_is_a_fault_of_the_config(tmp_path: Path, module: Callable[[str, str], str], text: str, cause: str) -> None:
    module("bad", text)
    with pytest.raises(UserError, match="PRELOAD") as caught:
        run_on_engine([Multiplies()], tmp_path, user_modules=["json", "bad"])
    assert cause in str(caught.value)


CLIENT = """\
import asyncio, sys
from fission.adapters.local_engine import LocalEngine
asyncio.run(LocalEngine(sys.argv[1], user_modules=["endless"]).open())
"""


def test_a_fork_server_whose_import_does_not_return_ends_with_its_client(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    module("endless", "import subprocess, time\nsubprocess.Popen(['sleep', '100000'])\nopen('began', 'w')\ntime.sleep(1e5)\n")
    path = os.pathsep.join([str(tmp_path / "installed"), *sys.path])
    (tmp_path / "run").mkdir()
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path / "run")], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    try:
        eventually((tmp_path / "began").exists, DEADLINE_S, "the import")
        below = psutil.Process(client.pid).children(recursive=True)
        assert len(below) == 2
    finally:
        client.kill()
        client.wait()
    eventually(lambda: not any(is_running(process.pid) for process in below), DEADLINE_S, "the end of the fork server and of its process")
    assert not (tmp_path / "run").exists()


async def on_a_lease(tmp_path: Path, scenario: Callable[[LocalEngine, Callable[[int], Any]], Any]) -> None:
    """Play a scenario on an engine like that of a node's service; it gets a function that runs a job on the lease's node."""
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    engine = LocalEngine(str(run_folder), (HERE,))
    await engine.open()
    events = engine.events()

    async def run(number: int) -> Any:
        folder = tmp_path / str(number)
        folder.mkdir()
        await engine.launch(bundle(Imports(), number, folder, str(run_folder)), LEASE)
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, JobExited):
                return seen
        return None

    try:
        await scenario(engine, run)
    finally:
        await engine.close()


def test_the_fork_server_of_a_lease_imports_again_when_it_was_killed_and_ends_with_the_lease(
    tmp_path: Path, module: Callable[[str, str], str]
) -> None:
    note = tmp_path / "imports"
    module("counted", COUNTED.format(str(note)))

    async def scenario(engine: LocalEngine, run: Callable[[int], Any]) -> None:
        engine.add_node(LEASE, ["counted"])
        assert any(isinstance(event, JobOutput) for event in await run(1))
        (first,) = imports(note)
        assert engine.kill_node(LEASE)
        await asyncio.wait_for(anext_of(engine, NodeGone), DEADLINE_S)
        await engine.revive(LEASE)
        await run(2)
        (_, second) = imports(note)
        assert first != second
        engine.end_node(LEASE)
        assert LEASE not in engine.nodes()
        await asyncio.to_thread(eventually, lambda: not is_running(second), DEADLINE_S, "the end of the fork server")
        assert (tmp_path / "run").is_dir()  # the service needs it
        assert list(engine.nodes()) == [HERE]

    asyncio.run(asyncio.wait_for(on_a_lease(tmp_path, scenario), DEADLINE_S))


def test_a_lease_ends_while_its_fork_server_imports(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    module("endless", f"import os, time\nopen({str(tmp_path / 'began')!r}, 'w').write(str(os.getpid()))\ntime.sleep(1e5)\n")

    async def scenario(engine: LocalEngine, run: Callable[[int], Any]) -> None:
        engine.add_node(LEASE, ["endless"])
        launched = asyncio.ensure_future(run(1))
        await asyncio.to_thread(eventually, lambda: (tmp_path / "began").exists(), DEADLINE_S, "the import")
        engine.end_node(LEASE)
        launched.cancel()

    asyncio.run(asyncio.wait_for(on_a_lease(tmp_path, scenario), DEADLINE_S))


def test_a_lease_starts_without_modules_that_cannot_be_imported_there(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    module("counted", "import os\n")
    module("bad", "raise ValueError('no device')")
    module("deadly", f"import os\nos.kill(os.getpid(), {int(signal.SIGKILL)})")

    async def scenario(engine: LocalEngine, run: Callable[[int], Any]) -> None:
        engine.add_node(LEASE, ["bad", "counted"])
        (notice,) = [event for event in await run(1) if isinstance(event, EngineNotice)]
        assert notice.text == "PRELOAD names 'bad', which cannot be imported: ValueError: no device; its jobs start without it"
        engine.end_node(LEASE)
        engine.add_node(LEASE, ["deadly"])
        await asyncio.wait_for(anext_of(engine, NodeGone), DEADLINE_S)
        assert engine.notices == ("PRELOAD names a module that ends the process that imports it, one of deadly; jobs start without them",)
        await engine.revive(LEASE)
        assert [event for event in await run(2) if isinstance(event, JobOutput)]

    asyncio.run(asyncio.wait_for(on_a_lease(tmp_path, scenario), DEADLINE_S))


async def anext_of(engine: LocalEngine, kind: type) -> None:
    async for event in engine.events():
        if isinstance(event, kind):
            return
