"""Everything that users get wrong, with the real command line: what is told, the exit code, and what is left as it was.

Each bad behaviour is a file of small jobs in tests/faults/. Faults that can be known before anything starts end with exit code 2 and
leave the last results alone; those of a running network end it with 1, and every file that was written stays whole.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import fission as package
from tests.e2e.support import column, finish, network, printed, remains, rows, stop
from tests.waiting import CommandLine, Finished, eventually

FAULTS = Path(__file__).parent.parent / "faults"
SOURCE = str(Path(package.__path__[0]).parent)
#: Beside every bad job, so that there is something to lose: jobs 1 and 2.
GOOD = 'Count(outputs=[PicklePipe(1), PicklePipe(2)]), CSVSinkJob("kept.csv", inputs=[PicklePipe(2)]),'


def project(fission: CommandLine, fault: str, listed: str, files: Mapping[str, str] | None = None, config: str = "") -> Path:
    """A project whose network net has the jobs of a file of tests/faults/ as net.bad."""
    text = (FAULTS / f"{fault}.py").read_text(encoding="utf-8") if fault else ""
    return fission.project(network("", listed, extra=f"from net.bad import *\n{config}") | {"net/bad.py": text} | dict(files or {}))


def folder(fission: CommandLine, *path: str) -> Path:
    return fission.root.joinpath("net", "simulation", *path)


def simulate(fission: CommandLine, exit_code: int) -> Finished:
    """Simulates net to its end, which leaves nothing behind and shows nothing of our own code."""
    client = fission.start("net", "simulate")
    client.end_input()
    done = finish(client, fission.root, exit_code)
    assert str(Path(package.__file__).parent) not in done.stderr, done
    assert "bug of FISSION" not in done.stderr, done
    return done


# -- while the network runs: exit code 1 ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """A bad job and what is told of it.

    Args:
        fault: file in tests/faults/.
        jobs: the entries of JOBS behind the good ones; the first has id 3 and reads pipe 1, unless it is a source.
        job: who fails.
        told: texts that are told of it.
        frames: the functions of the user that are shown, outermost first; none: no traceback at all.
    """

    fault: str
    jobs: str
    job: str
    told: tuple[str, ...]
    frames: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.fault}: {self.job}: {self.told[0]}"


def through(job: str, pipe: str = "PicklePipe(3)", *, last: str = "Show") -> str:
    """A job between the good source and one that shows what comes."""
    return f"{job}(inputs=[PicklePipe(1)], outputs=[{pipe}]), {last}(inputs=[{pipe}])"


def beside(job: str) -> str:
    """A source beside the good one, which has its own sink then."""
    return f"Show(inputs=[PicklePipe(1)]), {job}(outputs=[PicklePipe(3)]), Show(inputs=[PicklePipe(3)])"


FAILURES = [
    Failure("raises_in_setup", through("RaisesInSetup"), "RaisesInSetup 3", ("FileNotFoundError", "'model.bin'"), ("setup",)),
    Failure(
        "missing_module",
        through("MissingModule"),
        "MissingModule 3",
        ("MissingModule 3 cannot be loaded in its own process: ModuleNotFoundError: No module named 'a_module_that_is_missing'",),
        ("<module>",),
    ),
    # values that do not fit: job, output, pipe, the value's type
    Failure(
        "unpicklable_value",
        through("ReturnsLambda"),
        "ReturnsLambda 3",
        ("ReturnsLambda 3, output 1: a value of type function does not fit PicklePipe 3: ", "<lambda>"),
    ),
    Failure(
        "unpicklable_value",
        through("ReturnsLock"),
        "ReturnsLock 3",
        ("ReturnsLock 3, output 1: a value of type dict does not fit PicklePipe 3: TypeError: cannot pickle '_thread.lock' object",),
    ),
    Failure(
        "unpicklable_value",
        through("ReturnsGenerator"),
        "ReturnsGenerator 3",
        ("ReturnsGenerator 3, output 1: a value of type generator does not fit PicklePipe 3: ",),
    ),
    Failure(
        "unpicklable_value",
        through("ReturnsReluctant"),
        "ReturnsReluctant 3",
        ("ReturnsReluctant 3, output 1: a value of type Reluctant does not fit PicklePipe 3: ValueError: nobody pickles me",),
        ("__reduce__",),
    ),
    Failure(
        "unpicklable_value",
        beside("YieldsLambda"),
        "YieldsLambda 4",
        ("YieldsLambda 4, output 1: a value of type function does not fit PicklePipe 3: ",),
    ),
    Failure(
        "unfitting_value",
        through("ReturnsShortBytes", "BytesPipe(3, 4)"),
        "ReturnsShortBytes 3",
        (
            "ReturnsShortBytes 3, output 1: a value of type bytes does not fit BytesPipe 3: "
            "BytesPipe 3 takes bytes of length 4, not of length 3",
        ),
    ),
    Failure(
        "unfitting_value",
        through("ReturnsText", "BytesPipe(3, 4)"),
        "ReturnsText 3",
        ("ReturnsText 3, output 1: a value of type str does not fit BytesPipe 3: BytesPipe 3 takes bytes of length 4, not str",),
    ),
    Failure(
        "unfitting_value",
        through("ReturnsSet", "JSONPipe(3)"),
        "ReturnsSet 3",
        ("ReturnsSet 3, output 1: a value of type set does not fit JSONPipe 3: TypeError: Object of type set is not JSON serializable",),
    ),
    Failure(
        "unfitting_value",
        through("Returns", "TablePipe(3)"),
        "Returns 3",
        ("Returns 3, output 1: a value of type int does not fit TablePipe 3: KeyError: 1",),
        ("pack",),
    ),
    Failure(
        "unfitting_value",
        through("Returns", "FixedPipe(3)"),
        "Returns 3",
        ("Returns 3, output 1: a value of type int does not fit FixedPipe 3: ", "4 bytes"),
    ),
    # tuples
    Failure(
        "wrong_tuple",
        "ThreeForTwo(inputs=[PicklePipe(1)], outputs=[PicklePipe(3), PicklePipe(4)]), Show(inputs=[PicklePipe(3), PicklePipe(4)])",
        "ThreeForTwo 3",
        ("ThreeForTwo 3: run must return one value for each of its 2 outputs, or one value that is no tuple", "a tuple of 3"),
    ),
    Failure("wrong_tuple", through("TwoForOne"), "TwoForOne 3", ("for each of its 1 outputs", "a tuple of 2", "put it into a tuple")),
    Failure("wrong_tuple", through("NoneForOne"), "NoneForOne 3", ("for each of its 1 outputs", "a tuple of 0")),
    Failure("wrong_tuple", beside("YieldsTwoForOne"), "YieldsTwoForOne 4", ("for each of its 1 outputs", "a tuple of 2")),
    # values that the receiver cannot read: the receiver, its input, the pipe
    Failure(
        "unreadable_value",
        through("SendsForeign"),
        "Show 4",
        (
            "Show 4, input 1: a block of PicklePipe 3 could not be read: ModuleNotFoundError: No module named 'only_here'; "
            "the class of a value must be where its receiver can import it",
        ),
    ),
    Failure(
        "unreadable_value",
        through("SendsStateful"),
        "Show 4",
        ("Show 4, input 1: a block of PicklePipe 3 could not be read: KeyError: 'missing'",),
        ("__setstate__",),
    ),
    Failure(
        "unreadable_value",
        through("SendsError"),
        "Show 4",
        ("Show 4, input 1: a block of PicklePipe 3 could not be read: TypeError: ", "TwoArguments", "missing 1 required"),
    ),
    Failure(
        "unreadable_value",
        through("Sends", "StopsPipe(3)"),
        "Show 4",
        ("Show 4, input 1: a block of StopsPipe 3 could not be read: StopIteration\n",),
        ("unpack",),
    ),
    Failure(
        "unreadable_value",
        through("Sends", "ReadsPipe(3)"),
        "Show 4",
        ("Show 4, input 1: a block of ReadsPipe 3 could not be read: LookupError: no such block",),
        ("read",),
    ),
    Failure(
        "unreadable_value",
        through("Sends", "LinePipe(3)"),
        "Show 4",
        ("Show 4, input 1: a block of LinePipe 3 could not be read: JSONDecodeError: Expecting value",),
    ),
    # ends of a process that are none of a job
    Failure("kills_itself", through("Killed"), "Killed 3", ("its process was killed by signal 9 (SIGKILL)",)),
    Failure("kills_itself", through("Aborted"), "Aborted 3", ("its process was killed by signal 6 (SIGABRT)",)),
    Failure("kills_itself", through("Terminated"), "Terminated 3", ("SIGTERM", "somebody else")),
    Failure(
        "exits", through("Vanishes"), "Vanishes 3", ("its process ended with exit code 0 and without a word", "finish(), not by exit()")
    ),
    Failure("exits", through("Exits"), "Exits 3", ("SystemExit", "finish(), not by exit()"), ("run",)),
    Failure("exits", through("ExitsWithText"), "ExitsWithText 3", ("SystemExit: that was it", "finish(), not by exit()"), ("run",)),
    # exceptions that are no everyday ones
    Failure("odd_exceptions", through("Interrupts"), "Interrupts 3", ("KeyboardInterrupt",), ("run",)),
    Failure("odd_exceptions", beside("Exhausted"), "Exhausted 4", ("StopIteration",), ("run",)),
    Failure("odd_exceptions", through("Endless"), "Endless 3", ("RecursionError", "[Previous line repeated "), ("run", "run", "run")),
    Failure("odd_exceptions", through("SaysMuch"), "SaysMuch 3", ("ValueError: \u4e2d\u4e2d", "characters left out", "\u4e2d\n"), ("run",)),
    Failure("odd_exceptions", through("SaysWhatIsNoText"), "SaysWhatIsNoText 3", ("ValueError: half a \\udcff",), ("run",)),
    Failure("odd_exceptions", through("RaisesSpeechless"), "RaisesSpeechless 3", ("net.bad.Speechless: ",), ("run",)),
    # heads and dummies
    Failure(
        "wrong_head", through("HeadIsText"), "HeadIsText 3", ("HeadIsText 3: head ", "of 1 bytes (HEAD_SIZE); 'finished' (str) is none")
    ),
    Failure("wrong_head", through("HeadIsTooLarge"), "HeadIsTooLarge 3", ("HeadIsTooLarge 3: head ", "of 1 bytes (HEAD_SIZE); Head(")),
    Failure(
        "wrong_head", through("HeadsAreTooFew"), "HeadsAreTooFew 3", ("out_heads must have one entry", "each of its 1 outputs; it has 0")
    ),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_bad_job_ends_the_network(fission: CommandLine, failure: Failure) -> None:
    project(fission, failure.fault, f"{GOOD} {failure.jobs}")
    done = simulate(fission, 1)
    check_failure(fission, done, failure.job, failure.told, failure.frames)


def check_failure(fission: CommandLine, done: Finished, job: str, told: tuple[str, ...], frames: tuple[str, ...]) -> None:
    """What is told of a failed network, and that the good jobs' file is whole."""
    assert f"net: {job} failed after " in done.stdout, done
    assert re.search(rf"^  {job} +failed", done.stdout, re.MULTILINE), done
    begin = done.stderr.index(f"{job} failed:\n")
    for text in told:
        assert text in done.stderr[begin:], done
    shown = re.findall(r'^ +File "(.*)", line \d+, in (\S+)$', done.stderr, re.MULTILINE)
    assert [function for _, function in shown] == list(frames), done
    assert {Path(file).name for file, _ in shown} <= {"bad.py"}, done
    assert ("Traceback" in done.stderr) == bool(frames), done
    assert f"{job} failed" in folder(fission, "fission.log").read_text(encoding="utf-8")
    kept = folder(fission, "2", "kept.csv")
    if kept.exists():
        assert kept.read_text().endswith("\n")
        assert column(kept) == list(range(1, len(rows(kept))))


def test_rows_of_blocks_before_the_failure_stay(fission: CommandLine) -> None:
    """The third block of three fails; both files have the first two already, and keep them."""
    listed = """
    Count(outputs=[PicklePipe(1), PicklePipe(2)]),
    CSVSinkJob("kept.csv", inputs=[PicklePipe(2)]),
    Raises(["../2/kept.csv", "../4/result.csv"], inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
    """
    project(fission, "raises", listed)
    done = simulate(fission, 1)
    check_failure(fission, done, "Raises 3", ("KeyError: 'missing'",), ("run", "deeper"))
    assert folder(fission, "4", "result.csv").read_text() == "pipe_3\n1\n2\n"
    assert column(folder(fission, "2", "kept.csv"))[:2] == [1, 2]


@pytest.mark.parametrize(
    ("pipe", "told", "frames"),
    [
        ("FailingDummyPipe", "a block is lost, and get_dummy, which stands for it, failed: FileNotFoundError", ("get_dummy",)),
        ("ShortDummyPipe", "a block is lost; get_dummy must return 4 bytes (BLOCK_SIZE), it returned 0", ()),
    ],
)
def test_a_dummy_that_cannot_be_made(fission: CommandLine, pipe: str, told: str, frames: tuple[str, ...]) -> None:
    listed = f"SendsMany(outputs=[{pipe}(1, 4)]), Loses(inputs=[{pipe}(1, 4)]),"
    project(fission, "wrong_dummy", listed)
    done = simulate(fission, 1)
    check_failure(fission, done, "Loses 2", (f"{pipe} 1: {told}",), frames)


# -- executables ------------------------------------------------------------------------------------------------------

EXECUTABLE = """
class Program(ExecutableJob):
    DEPENDENCIES = "net/source"
    EXECUTABLE = "{executable}"
"""


def program(
    fission: CommandLine, text: str | bytes | None, *, mode: int = 0o755, executable: str = "./program", pipe: str = "PicklePipe(3)"
) -> None:
    """A project whose job 3 is an executable with this text."""
    project(fission, "", f"{GOOD} {through('Program', pipe)}", {"net/source/other.txt": ""}, EXECUTABLE.format(executable=executable))
    if text is not None:
        path = fission.root / "net/source/program"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)


@pytest.mark.parametrize(
    ("text", "mode", "executable", "told"),
    [
        (None, 0, "./program", "EXECUTABLE './program' is missing: there is no file "),
        ("#!/bin/sh\n", 0o644, "./program", "EXECUTABLE './program' is not executable; run: chmod +x "),
        ("#!/bin/sh\n", 0o755, "program", "EXECUTABLE 'program' is not on PATH; it is in the job's DEPENDENCIES: write './program'"),
        ("#!/bin/sh\n", 0o755, "no_such_program -x", "EXECUTABLE 'no_such_program' is not on PATH"),
        ("echo no program\n", 0o755, "./program", "is text without a first line like #!/bin/sh"),
        ("", 0o755, "./program", "program is empty"),
        ("#!/bin/sh\r\nexit 0\r\n", 0o755, "./program", "has the line ends of Windows; convert it: sed -i "),
        ("#!/no/such/shell\n", 0o755, "./program", "names /no/such/shell, which is not there"),
        ("#!/usr/bin/env -S pyhton9 -u\n", 0o755, "./program", "names pyhton9, which is not on PATH"),
    ],
)
def test_an_executable_that_cannot_be_started(fission: CommandLine, text: str | None, mode: int, executable: str, told: str) -> None:
    program(fission, text, mode=mode, executable=executable)
    check_refusal(
        fission, "net/config.py:", f"Program 3: {told.split(' ', 1)[0]}" if told.startswith("EXECUTABLE") else "Program 3: ", told
    )


@pytest.mark.parametrize(
    ("text", "pipe", "job", "told"),
    [
        (b"\x7fELF\0 not really", "PicklePipe(3)", "Program 3", "Program 3: cannot start ./program: it is no program for this machine"),
        ("#!/bin/sh\necho oh no >&2\nexit 3\n", "PicklePipe(3)", "Program 3", "./program ended with exit code 3 (0 means finished)"),
        ("#!/bin/sh\nno_such_command\n", "PicklePipe(3)", "Program 3", "exit code 127, which says that a program was not found"),
        ("#!/bin/sh\nkill -9 $$\n", "PicklePipe(3)", "Program 3", "./program was killed by signal 9"),
        (
            "#!/bin/sh\necho hello world > $4\ncat $2 >/dev/null\n",
            "PicklePipe(3)",
            "Program 3",
            "Program 3, output 1: what ./program wrote is no block of PicklePipe 3: PicklePipe 3: what came is no pickle",
        ),
        (
            "#!/bin/sh\necho hello world > $4\ncat $2 >/dev/null\n",
            "JSONPipe(3)",
            "Show 4",
            "Show 4, input 1: a block of JSONPipe 3 could not be read: JSONDecodeError",
        ),
    ],
    ids=["no program", "exit code", "not found", "killed", "no pickle", "no JSON"],
)
def test_an_executable_that_fails(fission: CommandLine, text: str | bytes, pipe: str, job: str, told: str) -> None:
    program(fission, text, pipe=pipe)
    done = simulate(fission, 1)
    check_failure(fission, done, job, (told,), ())
    if "oh no" in str(text):
        assert printed(done.stderr, "Program 3") == ["oh no"]


def test_an_executable_that_is_quick_loses_nothing(fission: CommandLine) -> None:
    """Its first block is there before anything else of the network has begun; the rest of one that it left unfinished is told in the log."""
    program(fission, "#!/bin/sh\nprintf 12345678901 > $4\n", pipe="BytesPipe(3, 4)")
    done = simulate(fission, 0)
    assert printed(done.stdout, "Show 4") == ["got b'1234'", "got b'5678'"]
    assert "BytesPipe 3: the stream ended inside a block, after 3 of 4 bytes" in folder(fission, "fission.log").read_text()


# -- before anything starts: exit code 2 ------------------------------------------------------------------------------


def check_refusal(fission: CommandLine, *told: str, command: tuple[str, ...] = ("net", "simulate")) -> str:
    """Simulates net, which is refused before anything starts: the last results stay. Gives what is told."""
    folder(fission, "2").mkdir(parents=True)
    folder(fission, "2", "kept.csv").write_text("results")
    done = fission.run(*command, exit_code=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for text in told:
        assert text in done.stderr, done
    assert [path.name for path in folder(fission).rglob("*")] == ["2", "kept.csv"]
    assert folder(fission, "2", "kept.csv").read_text() == "results"
    assert not (fission.root / "FISSION.log").exists()
    assert not remains(fission.root)
    return done.stderr


def takes(job: str, pipe: str = "PicklePipe(1)", *, line: int = 4) -> tuple[str, str]:
    """JOBS of two jobs, and what a fault of the second begins with."""
    return f"Count(outputs=[{pipe}]), {job}(inputs=[{pipe}])", f"net/config.py:{line}: "


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
        "WrongCountPipe.BLOCK_COUNT must be a number of blocks of at least 1, not 0",
    ),
    (
        "wrong_classes",
        "Show",
        "WrongDefaultPipe(1)",
        "net/config.py:",
        "WrongDefaultPipe 1: OPTIONAL_DEFAULT",
        "refuses '{no JSON': JSONDecode",
    ),
    ("wrong_classes", "Show", "ShortDummyPipe(1, 4)", "net/config.py:", "ShortDummyPipe 1: get_dummy must return 4 bytes", "it returned 3"),
    (
        "cannot_be_sent",
        "Locked",
        "PicklePipe(1)",
        "Locked 2: its attribute guard (lock) cannot be sent to the job's process",
        "make it in setup",
    ),
    ("cannot_be_sent", "Show", "LockedPipe(1)", "Show 2: LockedPipe 1 cannot be sent", "attribute guard (lock)", "__getstate__"),
    ("cannot_be_sent", "Inner", "PicklePipe(1)", "Inner 2: its class make_class.<locals>.Inner is defined inside a function", "top level"),
    ("cannot_be_sent", "WrongState", "PicklePipe(1)", "WrongState 2: its __getstate__ fails: AttributeError", "no_such_attribute"),
]


@pytest.mark.parametrize(("fault", "job", "pipe", "told"), [(*case[:3], case[3:]) for case in REFUSALS], ids=lambda value: str(value)[:30])
def test_a_bad_definition_is_refused(fission: CommandLine, fault: str, job: str, pipe: str, told: tuple[str, ...]) -> None:
    project(fission, fault, f"Count(outputs=[{pipe}]), {job}(inputs=[{pipe}])")
    check_refusal(fission, *told)


def test_a_pipe_with_one_end(fission: CommandLine) -> None:
    project(fission, "", "Count(outputs=[PicklePipe(1), PicklePipe(2)]), Show(inputs=[PicklePipe(1)])")
    err = check_refusal(fission, "pipe 2 has no destination: Count 1 (net/config.py:5) writes it, but no job has it in its inputs")
    assert err.count("Error: ") == 1


def test_several_faults_at_once(fission: CommandLine) -> None:
    """All of them, each in a paragraph of its own with its place, whichever part of FISSION finds them."""
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
    project(fission, "wrong_classes", listed, {"net/more.py": (FAULTS / "cannot_be_sent.py").read_text()}, config)
    err = check_refusal(
        fission,
        "Error: net/config.py:5: LOG_LEVEL must be one of ",
        "is 'LOUD' (str)",
        "Error: net/config.py:6: PULSE_INTERVALL is no setting; did you mean PULSE_INTERVAL?",
        "Error: net/config.py:7: HEAD_SIZE must be a whole number of bytes from 1 to 4, is 9 (int)",
        "pipe 2 has no destination",
        "pipe 3 has no source",
        "pipe 4 has no source",
        "TakesTwo 2",
        "WrongQueue.MAX_QUEUE must be",
        "Missing 3: EXECUTABLE 'no_such_program' is not on PATH",
        "WrongQueue 4: LockedPipe 4 cannot be sent",
    )
    assert err.count("Error: ") == 10
    assert fission.run("net", "check", exit_code=2).stderr.count("Error: ") == 9  # whether a node has the program is not known here


def test_names_that_are_not_there(fission: CommandLine) -> None:
    project(fission, "", GOOD)
    check_refusal(fission, "there is no network 'nett' in ", "did you mean 'net'? Networks: net", command=("nett", "simulate"))
    done = fission.run("nett", "simulat", exit_code=2)
    assert "there is no command 'simulat'; did you mean 'simulate'?" in done.stderr
    assert "did you mean 'net'?" in done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
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
def test_a_config_that_cannot_be_run(fission: CommandLine, line: str, told: str) -> None:
    project(fission, "", GOOD, config=line)
    check_refusal(fission, f"Error: net/config.py:3: {told}")


def test_xml_with_an_entity(fission: CommandLine) -> None:
    xml = """<?xml version="1.0"?>
<!DOCTYPE network [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<network><node pi_id="192.168.4.2"><algorithm path="net/source" executable="&secret;"/></node></network>
"""
    project(fission, "", GOOD, {"net/net.xml": xml}, 'XML_FILE = "net/net.xml"')
    err = check_refusal(fission, "net/net.xml:2: has a document type (<!DOCTYPE ...>), which is refused, and with it all entities; ")
    assert "root:" not in err


def test_dependencies_that_cannot_be_copied(fission: CommandLine) -> None:
    project(
        fission, "", "Count(outputs=[PicklePipe(1)]), Takes(inputs=[PicklePipe(1)])", config='class Takes(Show): DEPENDENCIES = "material"'
    )
    (fission.root / "material").mkdir()
    os.mkfifo(fission.root / "material/queue")
    check_refusal(
        fission, "Takes 2: DEPENDENCIES: ", "/material/queue is a named pipe, a socket or a device, which cannot be copied; remove it"
    )


def test_outside_of_a_project(fission: CommandLine) -> None:
    project(fission, "", GOOD)
    (fission.root / "manage.py").unlink()
    check_refusal(
        fission, "there is no project here: ", "has a manage.py of FISSION; change into a project, or make one with: fission startproject"
    )


# -- what is in the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_is_where_the_run_works(fission: CommandLine, kind: str) -> None:
    project(fission, "", GOOD)
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
def test_something_is_where_a_project_or_network_is_to_be_made(fission: CommandLine, words: tuple[str, ...]) -> None:
    project(fission, "", GOOD)
    (fission.root / "other").write_text("mine")
    done = fission.run(*words, exit_code=2)
    assert f"'other' cannot be made: {fission.root}/other exists already; choose another name, or remove it first" in done.stderr
    assert (fission.root / "other").read_text() == "mine"


def test_a_log_file_that_cannot_be_written_is_told_and_no_more(fission: CommandLine) -> None:
    project(fission, "", GOOD + "Show(inputs=[PicklePipe(1)])", config='LOG_FILE = "no/such/folder.log"')
    done = simulate(fission, 0)
    assert re.search(
        r"^Warning: LOG_FILE cannot be written, so only .*/fission.log has what is logged: .*no/such/folder.log'$", done.stderr, re.M
    )
    assert column(folder(fission, "2", "kept.csv")) == list(range(1, 11))


def test_dependencies_around_the_runs_own_folder(fission: CommandLine) -> None:
    """DEPENDENCIES = the network itself: the copy must not have itself in it, nor the results of the last run."""
    project(fission, "", GOOD + "Takes(inputs=[PicklePipe(1)])", config='class Takes(Show): DEPENDENCIES = "net"')
    for _ in range(2):
        simulate(fission, 0)
        assert sorted(path.name for path in folder(fission, "3").iterdir() if path.name != "__pycache__") == [
            "__init__.py",
            "bad.py",
            "config.py",
            "jobs",
        ]


def test_a_network_that_runs_already(fission: CommandLine) -> None:
    """A second run would empty the folders of the first one's jobs."""
    project(fission, "", 'Endless(outputs=[PicklePipe(1)]), CSVSinkJob("kept.csv", inputs=[PicklePipe(1)])')
    first = fission.start("net", "simulate")
    kept = folder(fission, "2", "kept.csv")
    eventually(lambda: len(rows(kept)) > 3, 10, "rows in the file")
    second = fission.run("net", "simulate", exit_code=2)
    assert "the network net is running already, and a second run would empty the folders of its jobs; stop the first one" in second.stderr
    assert second.stdout == ""
    seen = len(rows(kept))
    eventually(lambda: len(rows(kept)) > seen, 10, "more rows: the first run goes on")
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
    """``2>&1 | head -1``: nothing can be told any more, and everything is cleaned up."""
    project(fission, "", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])")
    done = shell(fission, "fission net simulate 2>&1 | head -1; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("Endless 1 started\n1\n", "")
    eventually(lambda: not remains(fission.root), 2, lambda: str(remains(fission.root)))


def test_no_room_for_the_output(fission: CommandLine) -> None:
    project(fission, "", GOOD + "Show(inputs=[PicklePipe(1)])")
    for script, started in (("fission net simulate >/dev/full", True), ("fission net check >/dev/full", False)):
        done = shell(fission, script)
        assert done.returncode == 1
        assert done.stderr.endswith("Error: the system refuses: No space left on device\n")
        assert ("Count 1 started\n" in done.stderr) == started
        assert "Traceback" not in done.stderr
    eventually(lambda: not remains(fission.root), 2, lambda: str(remains(fission.root)))


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(fission: CommandLine, closed: str) -> None:
    """As some service managers start their services: the network runs, and nothing that it prints gets into a wrong file."""
    project(fission, "", GOOD + "Show(inputs=[PicklePipe(1)])")
    done = shell(fission, f"fission net simulate {closed}")
    assert done.returncode == 0
    assert len(printed(done.stdout, "Show 3")) == (0 if ">&-" in closed.replace("2>&-", "") else 10)
    assert ("Count 1 started\n" in done.stderr) == ("2>&-" not in closed)
    assert column(folder(fission, "2", "kept.csv")) == list(range(1, 11))
