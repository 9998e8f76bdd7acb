"""Users' mistakes before a network starts, on the real command line: the message, exit code 2, and no file is touched.

What goes wrong while it runs is in test_bad_jobs.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fission as package
from tests.e2e.bad_projects import FAULTS, GOOD, RIGHT, bad_project, folder, program, simulate
from tests.e2e.support import column, network, printed, remains, rows, stop
from tests.waiting import CommandLine, eventually

SOURCE = str(Path(package.__path__[0]).parent)


def check_refusal(fission: CommandLine, *texts: str, command: tuple[str, ...] = ("net", "simulate")) -> str:
    """Simulate net, which is refused before anything starts: the last results stay. Return what it prints to stderr."""
    folder(fission, "2").mkdir(parents=True)
    folder(fission, "2", "kept.csv").write_text("results")
    done = fission.run(*command, exit_code=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr, done
    assert [path.name for path in folder(fission).rglob("*")] == ["2", "kept.csv"]
    assert folder(fission, "2", "kept.csv").read_text() == "results"
    assert not (fission.root / "FISSION.log").exists()
    return done.stderr


REFUSALS = [
    ("wrong_classes", "TakesTwo", "PicklePipe(1)", "TakesTwo 2", "has 1 input (pipe 1), but TakesTwo.run(first, second) cannot be called"),
    (
        "wrong_classes",
        "Generates",
        "PicklePipe(1)",
        "Generates 2",
        "Generates.run is a generator (it has a yield), which only a job without ",
    ),
    ("wrong_classes", "WrongQueue", "PicklePipe(1)", "net/bad.py:", "WrongQueue.MAX_QUEUE must be a number of blocks of at least 0", "'5'"),
    (
        "wrong_classes",
        "Show",
        "WrongCountPipe(1)",
        "net/bad.py:",
        "WrongCountPipe.BLOCK_COUNT must be a number of blocks of at least 1, but is 0",
    ),
    (
        "wrong_classes",
        "Show",
        "WrongDefaultPipe(1)",
        "net/config.py:",
        "WrongDefaultPipe 1: OPTIONAL_DEFAULT",
        "refuses '{no JSON': JSONDecode",
    ),
    ("wrong_classes", "Show", "ShortDummyPipe(1, 4)", "net/config.py:", "ShortDummyPipe 1: get_dummy must return 4 bytes", "returned 3"),
    ("wrong_classes", "Show", "TextDummyPipe(1, 4)", "TextDummyPipe 1: get_dummy must return bytes, but returned str"),
    (
        "wrong_classes",
        "Show",
        "FailingDummyPipe(1, 4)",
        "FailingDummyPipe 1: get_dummy, which stands for a lost block, fails: AttributeError",
    ),
    (
        "wrong_classes",
        "Show",
        "UnreadableDummyPipe(1)",
        "UnreadableDummyPipe 1: get_dummy returned b'no pickle', which the pipe's own read",
    ),
    (
        "cannot_be_sent",
        "Locked",
        "PicklePipe(1)",
        "Locked 2: its attribute guard (lock) cannot be sent to the job's process",
        "create it in setup",
    ),
    ("cannot_be_sent", "Show", "LockedPipe(1)", "Show 2: LockedPipe 1 cannot be sent", "attribute guard (lock)", "__getstate__"),
    ("cannot_be_sent", "Inner", "PicklePipe(1)", "Inner 2: its class make_class.<locals>.Inner is defined inside a function", "top level"),
    ("cannot_be_sent", "WrongState", "PicklePipe(1)", "WrongState 2: its __getstate__ fails: AttributeError", "no_such_attribute"),
]


@pytest.mark.parametrize(("fault", "job", "pipe", "texts"), [(*case[:3], case[3:]) for case in REFUSALS], ids=lambda value: str(value)[:30])
def test_a_bad_definition_is_refused(fission: CommandLine, fault: str, job: str, pipe: str, texts: tuple[str, ...]) -> None:
    bad_project(fission, fault, f"Count(outputs=[{pipe}]), {job}(inputs=[{pipe}])")
    check_refusal(fission, *texts)


@pytest.mark.parametrize(
    ("text", "mode", "executable", "message"),
    [
        (None, 0, "./program", "EXECUTABLE './program' is missing: there is no file "),
        ("#!/bin/sh\n", 0o644, "./program", "EXECUTABLE './program' is not executable; run: chmod +x "),
        ("#!/bin/sh\n", 0o755, "program", "EXECUTABLE 'program' is not on PATH; it is in the job's DEPENDENCIES: write './program'"),
        ("#!/bin/sh\n", 0o755, "no_such_program -x", "EXECUTABLE 'no_such_program' is not on PATH"),
        ("echo no program\n", 0o755, "./program", "is text without a first line like #!/bin/sh"),
        ("", 0o755, "./program", "program is empty"),
        ("#!/bin/sh\r\nexit 0\r\n", 0o755, "./program", "has Windows line endings; convert it: sed -i "),
        ("#!/no/such/shell\n", 0o755, "./program", "names /no/such/shell, which does not exist"),
        ("#!/usr/bin/env -S pyhton9 -u\n", 0o755, "./program", "names pyhton9, which is not on PATH"),
    ],
)
def test_an_executable_that_cannot_be_started(fission: CommandLine, text: str | None, mode: int, executable: str, message: str) -> None:
    program(fission, text, mode=mode, executable=executable)
    check_refusal(
        fission, "net/config.py:", f"Program 3: {message.split(' ', 1)[0]}" if message.startswith("EXECUTABLE") else "Program 3: ", message
    )


def test_a_pipe_with_one_end(fission: CommandLine) -> None:
    bad_project(fission, "", "Count(outputs=[PicklePipe(1), PicklePipe(2)]), Show(inputs=[PicklePipe(1)])")
    err = check_refusal(fission, "pipe 2 has no destination: Count 1 (net/config.py:5) writes it, but no job has it in its inputs")
    assert err.count("Error: ") == 1


def test_several_faults_at_once(fission: CommandLine) -> None:
    """All are reported, each in its own paragraph with its place, whichever part of FISSION finds them."""
    listed = """
    Count(outputs=[PicklePipe(1), PicklePipe(2)]),
    TakesTwo(inputs=[PicklePipe(1)]),
    Missing(inputs=[JSONPipe(3)]),
    WrongQueue(inputs=[LockedPipe(4)]),
    """
    config = """
from net.more import *
LOG_LEVEL = "LOUD"
PULSE_INTERVALL = 1
HEAD_SIZE = 9
class Missing(ExecutableJob):
    EXECUTABLE = "no_such_program"
"""
    bad_project(fission, "wrong_classes", listed, {"net/more.py": (FAULTS / "cannot_be_sent.py").read_text()}, config)
    err = check_refusal(
        fission,
        "Error: net/config.py:5: LOG_LEVEL must be one of ",
        "is 'LOUD' (str)",
        "Error: net/config.py:6: PULSE_INTERVALL is not a setting; did you mean PULSE_INTERVAL?",
        "Error: net/config.py:7: HEAD_SIZE must be a whole number of bytes from 1 to 4, but is 9 (int)",
        "pipe 2 has no destination",
        "pipe 3 has no source",
        "pipe 4 has no source",
        "TakesTwo 2",
        "WrongQueue.MAX_QUEUE must be",
        "Missing 3: EXECUTABLE 'no_such_program' is not on PATH",
        "WrongQueue 4: LockedPipe 4 cannot be sent",
    )
    assert len(re.findall("^Error: ", err, re.MULTILINE)) == 10
    checked = fission.run("net", "check", exit_code=2).stderr
    assert len(re.findall("^Error: ", checked, re.MULTILINE)) == 9  # whether a node has the program is not known here


def test_names_that_are_not_there(fission: CommandLine) -> None:
    bad_project(fission, "", RIGHT)
    check_refusal(fission, "there is no network 'nett' in ", "did you mean 'net'? Networks: net", command=("nett", "simulate"))
    done = fission.run("nett", "simulat", exit_code=2)
    assert "there is no command 'simulat'; did you mean 'simulate'?" in done.stderr
    assert "did you mean 'net'?" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "import a_module_that_is_missing",
            "ModuleNotFoundError: No module named 'a_module_that_is_missing'; if it is a package, install it",
        ),
        ("from net.jobs.jbos import Show", "ModuleNotFoundError: No module named 'net.jobs.jbos'; did you mean 'net.jobs.jobs'?"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit()", "SystemExit"),
    ],
)
def test_a_config_that_cannot_be_run(fission: CommandLine, line: str, message: str) -> None:
    bad_project(fission, "", RIGHT, config=line)
    check_refusal(fission, f"Error: net/config.py:3: {message}")


def test_xml_with_an_entity(fission: CommandLine) -> None:
    xml = """<?xml version="1.0"?>
<!DOCTYPE network [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<network><node pi_id="192.168.4.2"><algorithm path="net/source" executable="&secret;"/></node></network>
"""
    bad_project(fission, "", RIGHT, {"net/net.xml": xml}, 'XML_FILE = "net/net.xml"')
    err = check_refusal(fission, "net/net.xml:2: has a document type (<!DOCTYPE ...>), which is refused, and with it all entities; ")
    assert "root:" not in err


def test_dependencies_that_cannot_be_copied(fission: CommandLine) -> None:
    bad_project(
        fission, "", "Count(outputs=[PicklePipe(1)]), Takes(inputs=[PicklePipe(1)])", config='class Takes(Show): DEPENDENCIES = "material"'
    )
    (fission.root / "material").mkdir()
    os.mkfifo(fission.root / "material/queue")
    check_refusal(
        fission, "Takes 2: DEPENDENCIES: ", "/material/queue is a named pipe, a socket or a device, which cannot be copied; remove it"
    )


def test_outside_of_a_project(fission: CommandLine) -> None:
    bad_project(fission, "", RIGHT)
    (fission.root / "manage.py").unlink()
    check_refusal(
        fission, "there is no project here: ", "has a manage.py of FISSION; change into a project, or make one with: fission startproject"
    )


# -- what is in the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_is_where_the_run_works(fission: CommandLine, kind: str) -> None:
    bad_project(fission, "", RIGHT)
    (fission.root / "elsewhere").mkdir()
    (fission.root / "elsewhere/results").write_text("results")
    if kind == "file":
        folder(fission).write_text("results")
    else:
        folder(fission).symlink_to(fission.root / "elsewhere")
    done = simulate(fission, 2)
    assert f"Error: {folder(fission)} must be a folder or not exist: it is emptied for each run; it is a {kind}; remove or" in done.stderr
    assert (done.stdout, "started" in done.stderr) == ("", False)
    assert (fission.root / "elsewhere/results").read_text() == "results"
    assert kind == "link" or folder(fission).read_text() == "results"


@pytest.mark.parametrize("words", [("startproject", "other"), ("other", "startnetwork")])
def test_a_file_is_where_a_project_or_network_must_be_made(fission: CommandLine, words: tuple[str, ...]) -> None:
    bad_project(fission, "", RIGHT)
    (fission.root / "other").write_text("mine")
    done = fission.run(*words, exit_code=2)
    assert f"'other' cannot be created: {fission.root}/other exists; choose another name, or remove it first" in done.stderr
    assert (fission.root / "other").read_text() == "mine"


def test_a_log_file_that_cannot_be_written_is_only_a_warning(fission: CommandLine) -> None:
    bad_project(fission, "", RIGHT, config='LOG_FILE = "no/such/folder.log"')
    done = simulate(fission, 0)
    assert re.search(
        r"^Warning: LOG_FILE cannot be written, so only .*/fission.log gets the log: .*no/such/folder.log'$", done.stderr, re.M
    )
    assert column(folder(fission, "2", "kept.csv")) == list(range(1, 11))


def test_dependencies_around_the_runs_own_folder(fission: CommandLine) -> None:
    """DEPENDENCIES = the network itself: the copy must not have itself in it, nor the results of the last run."""
    bad_project(fission, "", GOOD + "Takes(inputs=[PicklePipe(1)])", config='class Takes(Show): DEPENDENCIES = "net"')
    for _ in range(2):
        simulate(fission, 0)
        assert sorted(path.name for path in folder(fission, "3").iterdir() if path.name != "__pycache__") == [
            "__init__.py",
            "bad.py",
            "config.py",
            "jobs",
        ]


def test_a_network_that_runs_already(fission: CommandLine) -> None:
    """A second run would use the same folders."""
    bad_project(fission, "", 'Endless(outputs=[PicklePipe(1)]), CSVSinkJob("kept.csv", inputs=[PicklePipe(1)])')
    first = fission.start("net", "simulate")
    kept = folder(fission, "2", "kept.csv")
    eventually(lambda: len(rows(kept)) > 3, 10, "rows in the file")
    second = fission.run("net", "simulate", exit_code=2)
    assert "the network net is running already, and a second run would use the same folders; stop the first run" in second.stderr
    assert second.stdout == ""
    seen = len(rows(kept))
    eventually(lambda: len(rows(kept)) > seen, 10, "more rows: the first run continues")
    stop(first, fission.root)
    values = column(kept)
    assert values == list(range(1, len(values) + 1))


# -- standard streams that are none -----------------------------------------------------------------------------------


def shell(fission: CommandLine, script: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of shell in the project, with ``fission`` as the command."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")])}
    text = f'fission() {{ "{sys.executable}" -m fission "$@"; }}; {script}'
    return subprocess.run(
        ["bash", "-c", text],
        cwd=fission.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_the_reader_of_all_output_goes_away(fission: CommandLine) -> None:
    """``2>&1 | head -1``: nothing can be printed any longer, and everything is cleaned up."""
    bad_project(fission, "", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])")
    done = shell(fission, "fission net simulate 2>&1 | head -1; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("Endless 1 started\n1\n", "")
    eventually(lambda: not remains(fission.root), 2, lambda: str(remains(fission.root)))


def test_no_room_for_the_output(fission: CommandLine) -> None:
    bad_project(fission, "", RIGHT)
    for script, started in (("fission net simulate >/dev/full", True), ("fission net check >/dev/full", False)):
        done = shell(fission, script)
        assert done.returncode == 1
        assert done.stderr.endswith("Error: the operating system refuses: No space left on device\n")
        assert ("Count 1 started\n" in done.stderr) == started
        assert "Traceback" not in done.stderr
    eventually(lambda: not remains(fission.root), 2, lambda: str(remains(fission.root)))


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(fission: CommandLine, closed: str) -> None:
    """As some service managers start their services: the network runs, and nothing that it prints gets into a wrong file."""
    bad_project(fission, "", RIGHT)
    done = shell(fission, f"fission net simulate {closed}")
    assert done.returncode == 0
    assert len(printed(done.stdout, "Show 3")) == (0 if ">&-" in closed.replace("2>&-", "") else 10)
    assert ("Count 1 started\n" in done.stderr) == ("2>&-" not in closed)
    assert column(folder(fission, "2", "kept.csv")) == list(range(1, 11))


def test_user_code_that_silences_itself_by_the_standard_streams(fission: CommandLine) -> None:
    """In the config and in a job; what the other jobs print is shown as ever."""
    jobs = "class Silent(PythonJob):\n    def run(self, *values):\n        sys.stdout = sys.stderr = None\n"
    listed = RIGHT + ", Count(outputs=[PicklePipe(8)]), Silent(inputs=[PicklePipe(8)]),"
    fission.project(network(jobs, listed, extra="sys.stdin = sys.stdout = sys.stderr = None"))
    done = fission.run("net", "simulate", exit_code=0)
    assert len(printed(done.stdout, "Show 3")) == 10
    assert "bug in FISSION" not in done.stderr
    assert fission.run("net", "check", exit_code=0).stderr == ""
    assert json.loads(fission.run("net", "check", "--json", exit_code=0).stdout)


@pytest.mark.parametrize("text", ["raise ValueError('no device')", "import os; os._exit(1)"])
def test_a_module_of_preload_that_fails_is_a_fault_before_anything_starts(fission: CommandLine, tmp_path: Path, text: str) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "shaky.py").write_text(f"print('loads')\n{text}\n")
    bad_project(fission, "", RIGHT, config="PRELOAD = ['json', 'shaky']")
    env = {"PYTHONPATH": str(tmp_path / "installed")}
    folder(fission, "2").mkdir(parents=True)
    folder(fission, "2", "kept.csv").write_text("results")
    for command in (("check",), ("simulate",), ("check", "--json")):
        done = fission.run("net", *command, exit_code=2, env=env)
        said = json.loads(done.stdout)["faults"][0]["text"] if "--json" in command else done.stderr
        assert "PRELOAD names" in said
        assert "shaky" in said
        assert "Traceback" not in done.stderr
        assert "loads" not in done.stdout
    assert {path.name for path in folder(fission).rglob("*")} == {"2", "kept.csv", "ending.json"}
