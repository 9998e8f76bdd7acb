"""``fission pipelines ...`` from a terminal."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.dashboard.pages import page_of
from tests.pipelines.daemons import STORE, WORKERS
from tests.ports import free_ports
from tests.waiting import CommandLine, Running, eventually

FILE = """
- graph: {A: [B, C]}
  data: {x: 1}
- graph: {A: [Bad]}
"""


@pytest.fixture
def folder(fission: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with workers and a store, and addresses that no other process uses."""
    here = tmp_path / "here"
    here.mkdir()
    for name, text in {"workers.py": WORKERS, "store.py": STORE, "p.yaml": FILE}.items():
        (here / name).write_text(text)
    api, broadcast = free_ports(2)
    monkeypatch.setenv("FISSION_API", f"tcp://127.0.0.1:{api}")
    monkeypatch.setenv("FISSION_BROADCAST", f"tcp://127.0.0.1:{broadcast}")
    monkeypatch.setenv("RUNS", str(here / "runs.jsonl"))
    fission.root = here
    return here


UP = ["pipelines", "up", "--workers", "workers", "--store", "store.Store", "--number-of-workers", "2", "--store-arg", "monitoring=m.jsonl"]


@pytest.fixture
def up(fission: CommandLine, folder: Path) -> Iterator[Running]:
    running = fission.start(*UP)
    running.wait_for("Ready at tcp://127.0.0.1:", 40, stream="stderr")
    yield running
    if running.process.poll() is None:
        running.interrupt()
        running.wait(exit_code=130)


@pytest.mark.slow
def test_up_send_list_show_retry_cancel(fission: CommandLine, up: Running, folder: Path) -> None:
    assert re.search(r"Ready at .*: 2 worker processes with A, B, Bad, .* Ctrl-C ends\.", up.stderr)
    sent = fission.run("pipelines", "send", "p.yaml", exit_code=1)
    assert re.fullmatch(r"2 of 2 pipelines have ended after \d+\.\d\d s, 1 failed\n", sent.stdout)
    assert re.search(r"Failed: [0-9a-f]{32}, Bad: ValueError: cannot do None\nTraceback", sent.stderr)
    result = json.loads(fission.run("pipelines", "send", "p.yaml", "--json", exit_code=1).stdout)
    assert (result["started"], result["finished"], result["failed"]) == (2, 1, 1)
    assert [one["state"] for one in result["pipelines"]] == ["finished", "failed"]
    rows = json.loads(fission.run("pipelines", "list", "--json", exit_code=0).stdout)["pipelines"]
    assert sorted(row["state"] for row in rows) == ["failed", "failed", "finished", "finished"]
    failed = [row["id"] for row in rows if row["state"] == "failed"]
    listed = fission.run("pipelines", "list", "--state", "failed", "--limit", "1", exit_code=0).stdout.splitlines()
    assert len(listed) == 2
    assert listed[1].startswith(failed[0])
    assert "Bad: ValueError" in listed[1]
    shown = fission.run("pipelines", "show", failed[0], exit_code=0).stdout
    assert re.search(r"^1 +Bad +failed +1 +\d+\.\d+ s +\S+ +ValueError: cannot do None$", shown, re.MULTILINE)
    assert "Traceback" in shown
    jobs = json.loads(fission.run("pipelines", "show", failed[0], "--json", exit_code=0).stdout)["jobs"]
    assert [(job["worker"], job["state"], job["tries"]) for job in jobs] == [("A", "finished", 1), ("Bad", "failed", 1)]
    assert fission.run("pipelines", "retry", failed[0], exit_code=0).stdout == f"{failed[0]} runs again\n"
    fission.run("pipelines", "retry", failed[0], "--json", exit_code=None)
    (folder / "w.yaml").write_text(f"graph: {{Wait: [A]}}\ndata: {{file: {folder / 'gate'}}}\n")
    name = fission.run("pipelines", "submit", "w.yaml", exit_code=0).stdout.strip()
    eventually(lambda: "Wait" in (folder / "runs.jsonl").read_text(), 10, "a running job")
    not_yet = fission.run("pipelines", "send", "w.yaml", "--for", "0.2", exit_code=1)
    assert not_yet.stdout.startswith("0 of 1 pipelines have ended")
    cancelled = json.loads(fission.run("pipelines", "cancel", name, "--json", exit_code=0).stdout)
    assert cancelled == {"pipelines": [{"id": name}], "done": "cancel"}
    again = fission.run("pipelines", "cancel", name, exit_code=2)
    assert again.stderr == f"Error: pipeline {name} has ended already: it is cancelled\n"
    assert "there is no pipeline 'x'" in fission.run("pipelines", "show", "x", exit_code=2).stderr
    ids = json.loads(fission.run("pipelines", "submit", "p.yaml", "--json", exit_code=0).stdout)["pipelines"]
    assert len({one["id"] for one in ids}) == 2
    some = ids[0]["id"][:8]
    assert fission.run("pipelines", "show", some, exit_code=0).stdout.startswith(f"{ids[0]['id']}: ")
    failed = json.loads(fission.run("pipelines", "list", "--state", "failed", "--json", exit_code=0).stdout)["pipelines"]
    again = json.loads(fission.run("pipelines", "retry", "--all-failed", "--json", exit_code=0).stdout)
    assert {one["id"] for one in failed} <= {one["id"] for one in again["pipelines"]}
    assert "retry needs the ID of a pipeline, or --all-failed" in fission.run("pipelines", "retry", exit_code=2).stderr
    listed = fission.run("pipelines", "list", exit_code=0).stdout
    assert str(folder / "gate")[:20] in listed, "its data tell a pipeline from the others"
    (folder / "u.yaml").write_text("graph: {A: Bat}\n")
    assert "no Broker has a worker 'Bat'; did you mean 'Bad'" in fission.run("pipelines", "submit", "u.yaml", exit_code=2).stderr


@pytest.mark.slow
def test_up_restarts_dead_daemons_and_ends_with_all(fission: CommandLine, up: Running, folder: Path) -> None:
    children = psutil.Process(up.pid).children()
    assert len(children) == 3
    for child in children:
        child.kill()
    for name in ("Router", "Broker", "Pipeliner"):
        up.wait_for(f"The {name} was killed by signal 9 (SIGKILL); starting it again", stream="stderr")
    assert "1 failed" in fission.run("pipelines", "send", "p.yaml", exit_code=1, deadline_s=40).stdout
    everybody = psutil.Process(up.pid).children(recursive=True)
    up.interrupt()
    up.wait(exit_code=130)
    assert not [one for one in everybody if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_progress_bar_on_a_terminal(fission: CommandLine, up: Running) -> None:
    client = fission.start("pipelines", "send", "p.yaml", terminal=True)
    client.wait_for(re.compile("pipelines .*2/2"), partial=True)
    client.wait(exit_code=1)


@pytest.mark.slow
def test_ctrl_c_while_waiting(fission: CommandLine, up: Running, folder: Path) -> None:
    (folder / "w.yaml").write_text(f"graph: {{Wait: [A]}}\ndata: {{file: {folder / 'gate'}}}\n")
    client = fission.start("pipelines", "send", "w.yaml")
    eventually(lambda: (folder / "runs.jsonl").exists(), 10, "a running job")
    client.interrupt()
    client.wait(exit_code=130)
    (folder / "gate").touch()
    eventually(lambda: "finished" in fission.run("pipelines", "list").stdout, 10, "the pipeline continues")


@pytest.mark.slow
def test_the_daemons_one_by_one(fission: CommandLine, folder: Path) -> None:
    router = fission.start("pipelines", "router", "--state", "own.sqlite", "--store-arg", "monitoring=m.jsonl", "--interval", "5")
    broker = fission.start("pipelines", "broker", "--workers", "workers", "--store", "store.Store", "--number-of-workers", "1")
    pipeliner = fission.start("pipelines", "pipeliner", "--verbose")
    assert "1 failed" in fission.run("pipelines", "send", "p.yaml", exit_code=1, deadline_s=40).stdout
    assert (folder / "own.sqlite").exists()
    for daemon, number in ((pipeliner, signal.SIGINT), (broker, signal.SIGTERM), (router, signal.SIGINT)):
        daemon.signal(number)
        assert "Traceback" not in daemon.wait(exit_code=130).stderr


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.soak
def test_up_with_keys(fission: CommandLine, folder: Path) -> None:
    for name in ("ours", "others"):
        fission.run("keys", "--dir", name, exit_code=0)
    running = fission.start(*UP, "--keys", "ours")
    running.wait_for("Ready at tcp://127.0.0.1:", 40, stream="stderr")
    (folder / "good.yaml").write_text("graph: {A: [B, C]}\n")
    sent = json.loads(fission.run("pipelines", "send", "good.yaml", "--keys", "ours", "--json", exit_code=0).stdout)
    assert (sent["finished"], sent["failed"]) == (1, 0)
    name = sent["pipelines"][0]["id"]
    fission.run("pipelines", "submit", "good.yaml", "--keys", "ours", exit_code=0)
    assert name in fission.run("pipelines", "list", "--keys", "ours", exit_code=0).stdout
    assert "finished" in fission.run("pipelines", "show", name, "--keys", "ours", exit_code=0).stdout
    for command in ("retry", "cancel"):
        assert f"pipeline {name}" in fission.run("pipelines", command, name, "--keys", "ours", exit_code=2).stderr
    for words in (["send", "good.yaml"], ["list"]):
        refused = fission.run("pipelines", *words, "--timeout", "2", exit_code=1).stderr
        assert "cannot be reached: it refuses unencrypted connections; give the keys" in refused
        refused = fission.run("pipelines", *words, "--timeout", "2", "--keys", "others", exit_code=1).stderr
        assert "cannot be reached: its keys differ from those given here" in refused
    broker = ["broker", "--workers", "workers", "--store", "store.Store", "--keys", "others"]
    assert "its keys differ from those given here" in fission.run("pipelines", *broker, exit_code=2, deadline_s=40).stderr
    running.wait_for("WARNING - refused a connection from 127.0.0.1 to", stream="stderr")
    running.interrupt()
    assert "Traceback" not in running.wait(exit_code=130).stderr


NO_ROUTER = "Error: no Router answers at tcp://127.0.0.1:"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list"], ["show", "x"], ["retry", "x"], ["cancel", "x"], ["submit", "p.yaml"], ["send", "p.yaml"]])
def test_no_router(fission: CommandLine, folder: Path, words: list[str]) -> None:
    done = fission.run("pipelines", *words, "--timeout", "0.3", exit_code=1)
    assert done.stderr.startswith(NO_ROUTER)
    assert "within 0.3 s: start it (fission pipelines router, or up)" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["upp"], "there is no command 'upp'; did you mean 'up'?"),
        (["router", "--api", "localhost"], "--api must be like tcp://HOST:PORT, but is 'localhost'"),
        (
            ["router", "--store-arg", "a=1", "--store-arg", 'b={"c": 1, "c": 2}', "--store-arg", "a=2"],
            "--store-arg b: the key 'c' appears twice; remove one\n--store-arg a is given twice; remove one\n",
        ),
        (
            ["broker", "--store", "s.S", *("--executable", "A=cat") * 2, "--executable", 'B={"command": "cat", "command": "tac"}'],
            "--executable B: the key 'command' appears twice; remove one\n--executable A is given twice; remove one\n",
        ),
        (["router", "--store-arg", "x"], "--store-arg must be NAME=VALUE, but is 'x'"),
        (["broker", "--workers", "nothing", "--store", "store.Store"], "there is no module 'nothing' with workers"),
        (["broker", "--workers", "workers", "--store", "store.Stor"], "store has no class 'Stor'; it has Store"),
        (["broker", "--workers", "store", "--store", "store.Store"], "must have an __all__ that names its workers"),
        (["up", "--workers", "nothing", "--store", "store.Store"], "there is no module 'nothing' with workers"),
        (["up", "--workers", "workers", "--store", "store.Store", "--keys", "nowhere"], "there are no keys in "),
        (["list", "--keys", "nowhere"], "there are no keys in "),
        (["submit", "nothing.yaml"], "nothing.yaml cannot be read: No such file or directory"),
        (["list", "--api", "here"], "'here' is not the address of a Router"),
    ],
)
def test_wrong_use(fission: CommandLine, folder: Path, words: list[str], message: str) -> None:
    done = fission.run("pipelines", *words, exit_code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_pipelines_belong_to_no_network(fission: CommandLine, folder: Path) -> None:
    done = fission.run("net", "pipelines", "list", exit_code=2)
    assert done.stderr == "Error: 'pipelines' is a command without a network: fission pipelines list\n"


@pytest.mark.slow
def test_up_with_a_store_that_cannot_be_constructed(fission: CommandLine, folder: Path) -> None:
    done = fission.run("pipelines", "up", "--workers", "workers", "--store", "store.NoStore", exit_code=2)
    assert "Error: the store NoStore() cannot be constructed: ConnectionError('no database there')" in done.stderr
    assert done.stderr.endswith("Error: the Broker cannot start\n")


@pytest.mark.parametrize(
    "words", [[], ["up"], ["router"], ["broker"], ["pipeliner"], ["submit"], ["send"], ["list"], ["show"], ["retry"], ["cancel"]]
)
def test_help(fission: CommandLine, folder: Path, words: list[str]) -> None:
    done = fission.run("pipelines", *words, "--help", exit_code=0)
    assert done.stdout.startswith(f"Usage: fission {' '.join(['pipelines', *words])} ")
    assert "Examples:" in done.stdout


@pytest.mark.parametrize("words", [["pipelines", ""], ["pipelines", "s"], ["pipelines", "nothing", ""], ["pipelines", "list", "--st"]])
def test_completion_of_a_shell(fission: CommandLine, words: list[str]) -> None:
    """What a shell asks for while a line is typed: never a traceback."""
    line = " ".join(["fission", *words])
    environment = {"_FISSION_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    done = fission.run(env=environment, exit_code=None)
    assert "Traceback" not in done.stderr + done.stdout
    if words == ["pipelines", ""]:
        assert "plain,submit" in done.stdout


def test_secrets_on_the_command_line(fission: CommandLine, folder: Path) -> None:
    given = ["--store-arg", "password=hunter2", "--store-arg", "url=postgresql://me:hunter3@host/name"]
    refused = fission.run("pipelines", "router", *given, exit_code=2)
    assert "Warning: --store-arg password contains a secret, which `ps` shows" in refused.stderr
    assert "config['store'] seems to contain a secret (password, url), which a Router without keys gives to every client" in refused.stderr
    assert "hunter" not in refused.stderr + refused.stdout
    broker = ["pipelines", "broker", "--workers", "workers", "--store", "store.Store"]
    for secret, message in (
        ("password", "--store-secret must be NAME=file:PATH or NAME=env:VARIABLE"),
        ("password=hunter2", "--store-secret must be NAME=file:PATH or NAME=env:VARIABLE"),
        ("password=env:NOT_THERE", "the environment has no variable NOT_THERE"),
        ("password=file:not_there", "the file not_there cannot be read: No such file or directory"),
    ):
        done = fission.run(*broker, "--store-secret", secret, exit_code=2)
        assert message in done.stderr
        assert "hunter2" not in done.stderr


@pytest.mark.slow
@pytest.mark.soak
def test_the_page_of_up_starts_again_and_without_a_port_the_daemons_run_all_the_same(
    fission: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISSION_KEYS", str(folder / "own_keys"))
    fission.run("keys", "--dir", "ours", exit_code=0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = fission.start(*UP, "--keys", "ours", "--dashboard", str(taken.getsockname()[1]))
        running.wait_for("Ready at tcp://127.0.0.1:", 40, stream="stderr")
        running.wait_for("Warning: the page is not served: the page cannot be served at 127.0.0.1", stream="stderr")
        eventually(lambda: len(psutil.Process(running.pid).children()) == 3, 10, "the daemons are left, without the page")
        running.interrupt()
        running.wait(exit_code=130)
    running = fission.start(*UP, "--keys", "ours", "--dashboard", "0")
    first = page_of(running, "stderr")
    running.wait_for("Ready at tcp://127.0.0.1:", 40, stream="stderr")
    asked = {"Authorization": f"Bearer {first.token}"}
    status, _, body = first.get("/overview", asked)
    assert (status, json.loads(body)["pipelines"]["failed"]) == (200, 0), body
    page = next(child for child in psutil.Process(running.pid).children() if listens(child))
    page.kill()
    running.wait_for("The page was killed by signal 9 (SIGKILL); starting it again", stream="stderr")
    eventually(lambda: running.stderr.count("the page of pipelines: http://") == 2, 20, "the page's new address")
    running.interrupt()
    running.wait(exit_code=130)


def listens(process: psutil.Process) -> bool:
    """Return whether a daemon is the page: the Router listens as well, at more than one port."""
    return len([found for found in process.net_connections("tcp") if found.status == psutil.CONN_LISTEN]) == 1
