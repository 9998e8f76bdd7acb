"""`run` without other machines, and the commands with which other terminals reach a running network."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.support import column, finish, network, printed, remains, stop
from tests.waiting import DEADLINE_S, CommandLine, Running, eventually

JOBS = """
class Numbers(PythonJob):
    CHECKPOINT = 10
    def __init__(self, end, **kwargs):
        super().__init__(**kwargs)
        self.end = end
    def setup(self):
        self.number = 0
    def run(self):
        time.sleep(0.005)
        self.number += 1
        if os.path.exists(self.end):
            self.finish()
        return self.number

class Say(PythonJob):
    def run(self, number):
        print("number", number)
        return number

class Sum(PythonJob):
    CHECKPOINT = 7
    def setup(self):
        self.total = 0
    def run(self, number):
        self.total += number
        return self.total
"""
LISTED = """
Numbers({end!r}, outputs=[PicklePipe(1)]),
Say(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
Sum(inputs=[PicklePipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("sums.csv", inputs=[PicklePipe(3)]),
"""
NAMES = ("Numbers 1", "Say 2", "Sum 3", "CSVSinkJob 4")


class Site:
    """A project with a network that runs until `end` is called."""

    def __init__(self, fission: CommandLine, extra: str = "", jobs: str = JOBS, listed: str = LISTED) -> None:
        self.fission = fission
        self.end_file = fission.root / "end"
        fission.project(network(jobs, listed.format(end=str(self.end_file)), extra=extra))

    @property
    def folder(self) -> Path:
        return self.fission.root / "net" / "local"

    def sums(self) -> list[int]:
        return column(self.folder / "4" / "sums.csv")

    def flows(self, rows: int = 5) -> None:
        eventually(lambda: len(self.sums()) >= rows, DEADLINE_S, lambda: f"{rows} rows; there are {len(self.sums())}")

    def end(self) -> None:
        self.end_file.touch()

    def check(self) -> None:
        """The sink has each sum once, in order."""
        found = self.sums()
        assert found == [number * (number + 1) // 2 for number in range(1, len(found) + 1)]

    def gone(self) -> None:
        eventually(lambda: not remains(self.fission.root), 10, lambda: "; ".join(remains(self.fission.root)))


@pytest.fixture
def site(fission: CommandLine) -> Site:
    return Site(fission)


def test_everything_runs_here_without_nodes(site: Site) -> None:
    client = site.fission.start("net", "run")
    site.flows()
    site.end()
    done = finish(client, site.fission.root, 0)
    assert "net: finished after" in done.stdout
    assert printed(done.stdout, "Say 2")[:2] == ["number 1", "number 2"]
    assert (site.folder / "info.txt").is_file()
    assert not (site.fission.root / "net" / "simulation").exists()
    site.check()


def test_localhost_is_here(fission: CommandLine) -> None:
    site = Site(fission, extra="from fission.core.nodes import BaseNode\nNODES = [BaseNode('localhost')]")
    client = fission.start("net", "run", "--json")
    site.flows()
    site.end()
    summary = json.loads(finish(client, fission.root, 0).stdout)
    assert [job["outcome"] for job in summary["jobs"].values()] == ["finished"] * 4


def kill(client: Running, site: Site) -> None:
    client.signal(signal.SIGKILL)
    client.wait(exit_code=-signal.SIGKILL)
    site.gone()


def test_a_client_that_was_killed_is_resumed(site: Site) -> None:
    for rows in (20, 60):
        client = site.fission.start("net", "run", *(["--resume"] if rows > 20 else []))
        site.flows(rows)
        kill(client, site)
    client = site.fission.start("net", "run", "--resume")
    client.wait_for("Failover: the client was away", stream="stderr")
    site.flows(100)
    site.end()
    done = finish(client, site.fission.root, 0)
    assert done.stdout.count("2 restarts") == 4
    site.check()
    assert len(list((site.fission.root / "net" / "runs").iterdir())) == 1


@pytest.mark.slow
def test_it_is_resumed_with_a_torn_log_stray_files_and_a_damaged_newer_snapshot(site: Site) -> None:
    client = site.fission.start("net", "run")
    site.flows(20)
    kill(client, site)
    snapshots = site.folder / ".checkpoints" / "3"
    for name in ("note.txt", "0.7~", ".new-0123", "0.999999"):  # the last one is newer than all, and empty
        (snapshots / name).touch()
    for rows, torn in ((40, b'{"s": 1.234, "what": "JobEn'), (60, b"\0" * 300), (80, bytes(range(256)))):
        with (site.folder / "events.jsonl").open("ab") as file:
            file.write(torn)
        client = site.fission.start("net", "run", "--resume")
        client.wait_for(f"its last {len(torn)} bytes are an entry that was not written to its end", stream="stderr")
        site.flows(rows)
        kill(client, site)
    client = site.fission.start("net", "run", "--resume")
    site.flows(100)
    site.end()
    finish(client, site.fission.root, 0)
    site.check()


@pytest.mark.slow
def test_damaged_files_are_refused_by_name_and_change_nothing(site: Site) -> None:
    client = site.fission.start("net", "run")
    site.flows(20)
    kill(client, site)
    folder = site.folder.resolve()
    snapshots = {path: path.read_bytes() for path in (folder / ".checkpoints" / "3").iterdir()}
    before = site.sums()

    def refused(message: str) -> None:
        done = site.fission.run("net", "run", "--resume", exit_code=2)
        assert message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "without --resume" in done.stderr
        assert site.sums() == before

    for name, damage in (("run.json", lambda content: b""), ("events.jsonl", lambda content: content[:99] + b"\xff" + content[100:])):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(damage(content))
        refused(f"{folder / name} is damaged")
        (folder / name).write_bytes(content)
    for path in snapshots:
        path.write_bytes(b"")
    refused("/.checkpoints/3/")
    for path in snapshots:
        path.unlink()
    refused("the snapshots of job 3 are missing")
    for path, content in snapshots.items():
        path.write_bytes(content)
    client = site.fission.start("net", "run", "--resume")
    site.flows(60)
    site.end()
    finish(client, site.fission.root, 0)
    site.check()


def test_each_run_keeps_its_results(site: Site) -> None:
    results = []
    for _ in range(2):
        client = site.fission.start("net", "run")
        client.wait_for("number 9")  # the file that is found before is that of the run before
        site.flows()
        stop(client, site.fission.root)
        results.append((site.folder.resolve(), site.sums()))
    (first, first_sums), (second, _) = results
    assert first != second
    assert column(first / "4" / "sums.csv") == first_sums
    assert site.folder.is_symlink()
    assert sorted(path.name for path in (site.fission.root / "net" / "runs").iterdir()) == [first.name, second.name]


def test_another_user_cannot_keep_the_owner_from_starting(site: Site) -> None:
    folder = os.open(site.fission.root / "net", os.O_RDONLY)  # all that another user can open
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        client = site.fission.start("net", "run")
        site.flows()
        stop(client, site.fission.root)
    finally:
        os.close(folder)
    assert (site.fission.root / "net" / ".fission-lock").stat().st_mode & 0o777 == 0o600


def test_there_is_nothing_to_resume(site: Site) -> None:
    done = site.fission.run("net", "run", "--resume", exit_code=2)
    assert "there is no run to resume" in done.stderr
    client = site.fission.start("net", "run")
    site.flows()
    site.end()
    finish(client, site.fission.root, 0)
    done = site.fission.run("net", "run", "--resume", exit_code=2)
    assert "is over: finished" in done.stderr


def test_in_the_background(site: Site) -> None:
    started = site.fission.run("net", "run", "--detach", exit_code=0)
    assert "net runs in the background, process " in started.stdout
    process = int(started.stdout.partition("process ")[2].split(";")[0])
    viewer = site.fission.start("net", "attach")
    viewer.wait_for("following net; Ctrl-C ends this view, not the network", stream="stderr")
    viewer.wait_for("number ", stream="stdout")
    viewer.wait_for("Numbers 1 started", stream="stderr")
    other = site.fission.start("net", "attach")
    other.wait_for("number ")
    other.interrupt()
    other.wait(exit_code=130)
    os.kill(process, 0)  # the viewer's end did not end it
    site.end()
    done = viewer.wait(exit_code=0)
    assert "net: finished after" in done.stdout
    site.gone()
    site.check()


def test_a_background_run_that_cannot_start_says_why(fission: CommandLine) -> None:
    fission.project(network("", "Show(inputs=[PicklePipe(1)]),"))
    done = fission.run("net", "run", "--detach", exit_code=2)
    assert "pipe 1 has no source" in done.stderr or "PicklePipe 1" in done.stderr


def test_everything_that_a_background_run_shows_is_in_one_file_and_status_says_how_it_ended(fission: CommandLine) -> None:
    jobs = """
class Fails(PythonJob):
    RESTARTS = 0
    def run(self):
        print("a line of the job", flush=True)
        while not os.path.exists("../../../fail"):
            time.sleep(0.01)
        raise OSError("no microphone")
"""
    fission.project(network(jobs, "Fails(outputs=[PicklePipe(1)]),\nShow(inputs=[PicklePipe(1)]),"))
    folder = fission.root / "net"
    done = fission.run("net", "status", exit_code=2)
    assert "the network net is not running on this machine; start it in another terminal: fission net simulate" in done.stderr
    assert json.loads(fission.run("net", "status", "--json", exit_code=2).stdout) == {"network": "net", "running": False, "last_run": None}
    started = fission.run("net", "run", "--detach", exit_code=0)
    assert "its output is in net/local/output.log" in started.stdout
    output = folder / "local" / "output.log"
    eventually(lambda: "[Fails 1] a line of the job" in output.read_text(), DEADLINE_S, output.read_text)
    (folder / "fail").touch()
    eventually((folder / "local" / "ending.json").exists, DEADLINE_S, "the end")
    eventually(lambda: not remains(fission.root), 10, lambda: "; ".join(remains(fission.root)))
    text = output.read_text()
    assert "OSError: no microphone" in text
    assert "Show 2" in text[text.index("net: ") :], "the summary is there"
    assert "no microphone" in (folder / "local" / "fission.log").read_text()
    done = fission.run("net", "status", exit_code=2)
    name = (folder / "local").resolve().name
    assert f"its last run (net/runs/{name}) ended with exit code 1: Fails 1 failed" in done.stderr
    assert "start it again: fission net run" in done.stderr
    last = json.loads(fission.run("net", "status", "--json", exit_code=2).stdout)["last_run"]
    assert (last["exit_code"], last["resumable"]) == (1, False)
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".new-")) == []


def test_after_a_kill_the_message_says_how_to_resume_and_the_output_continues_in_the_same_file(site: Site) -> None:
    started = site.fission.run("net", "run", "--detach", exit_code=0)
    site.flows()
    process = int(started.stdout.partition("process ")[2].split(";")[0])
    os.kill(process, signal.SIGKILL)
    site.gone()
    for command in ("status", "attach", "stop", "debug"):
        done = site.fission.run("net", command, exit_code=2)
        assert "the client of its last run (net/runs/" in done.stderr
        assert "was killed, or its machine failed; continue it: fission net run --resume" in done.stderr
    site.fission.run("net", "run", "--resume", "--detach", exit_code=0)
    site.flows(40)
    site.fission.run("net", "stop", exit_code=0)
    site.gone()
    text = (site.folder / "output.log").read_text()
    assert text.startswith("NODES is empty: net runs on this machine alone\nNumbers 1 started\n"), (
        "what the killed client had shown is in front"
    )
    assert text.count("Failover: the client was away") == 1
    assert "net: stopped after" in text
    done = site.fission.run("net", "status", exit_code=2)
    assert "ended with exit code 0: stopped; continue it: fission net run --resume" in done.stderr


def test_stop_and_status(site: Site) -> None:
    client = site.fission.start("net", "run")
    site.flows()
    status = json.loads(site.fission.run("net", "status", "--json", exit_code=0).stdout)
    assert [node["name"] for node in status["nodes"]] == ["client"]
    assert status["nodes"][0]["up"]
    assert [(job["name"], job["state"], job["node"]) for job in status["jobs"]] == [(name, "running", "client") for name in NAMES]
    text = site.fission.run("net", "status", exit_code=0).stdout
    assert "NODE" in text
    assert "Sum 3" in text
    assert "net has stopped" in site.fission.run("net", "stop", exit_code=0).stdout
    done = finish(client, site.fission.root, 0)
    assert "net: stopped after" in done.stdout
    for command in ("status", "stop", "attach", "debug"):
        assert "is not running on this machine" in site.fission.run("net", command, exit_code=2).stderr
    site.check()


def viewers() -> int:
    """Return the number of connections to clients of this test run."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith("/requests") and os.environ["TMPDIR"] in line and line.split()[5] == "03" for line in lines)


def test_debug_shows_one_job_or_all_and_knows_them(site: Site) -> None:
    client = site.fission.start("net", "run")
    site.flows()
    assert "there is no job 9" in site.fission.run("net", "debug", "--job", "9", exit_code=2).stderr
    shows_nothing = site.fission.start("net", "debug", "--job", "3")
    eventually(lambda: viewers() == 1, 20, "it is connected")
    shows: Running = site.fission.start("net", "debug", "--job", "2")
    shows.wait_for("[Say 2] number ", count=3)
    assert shows_nothing.stdout == ""
    shows.interrupt()
    shows.wait(exit_code=130)
    stop(client, site.fission.root)
    shows_nothing.wait(exit_code=0)


def test_collect_here_is_the_log_of_this_machine(site: Site) -> None:
    client = site.fission.start("net", "run")
    site.flows()
    site.end()
    finish(client, site.fission.root, 0)
    found = json.loads(site.fission.run("net", "collect", "--json", exit_code=0).stdout)
    assert list(found) == ["client"]
    assert "Sum 3 starts" in Path(found["client"]).read_text()


ELSEWHERE = "from fission.core.nodes import BaseNode\nNODES = [BaseNode('127.0.0.9')]\nSECURITY = False\n"


@pytest.mark.parametrize(
    ("extra", "message"),
    [("", "CLIENT_IP must be this machine's address"), ("CLIENT_IP = '203.0.113.7'\n", "203.0.113.7 is not")],
    ids=["none", "another's"],
)
def test_an_address_is_needed_for_other_machines(fission: CommandLine, extra: str, message: str) -> None:
    site = Site(fission, extra=ELSEWHERE + extra)
    assert message in site.fission.run("net", "run", exit_code=2).stderr


def test_the_time_of_for_begins_when_all_jobs_were_started(fission: CommandLine) -> None:
    extra = f"{ELSEWHERE}CLIENT_IP = '127.0.0.1'\nALLOCATION_TIMEOUT = 0.5\n"
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]),\nShow(inputs=[PicklePipe(1)]),", extra=extra))
    done = fission.run("net", "run", "--for", "0.1", exit_code=3)
    assert "time is over" not in done.stdout, "no node has come, so no second of the network has passed"
