"""Jobs that fail while the network runs: what is reported of them, exit code 1, and every file that was written stays whole.

Each bad behaviour is a file of small jobs in tests/faults/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.bad_projects import EXECUTABLE, GOOD, bad_project, folder, program, simulate, through
from tests.e2e.support import column, printed, rows
from tests.waiting import CommandLine, Finished


@dataclass(frozen=True)
class Failure:
    """A bad job and what is reported of it.

    Args:
        fault: file in tests/faults/.
        jobs: the entries of JOBS after the good ones; the first has id 3 and reads pipe 1, unless it is a source.
        job: the job that fails.
        texts: texts that the report contains.
        frames: the functions of the user that are shown, outermost first; none: no traceback at all.
    """

    fault: str
    jobs: str
    job: str
    texts: tuple[str, ...]
    frames: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.fault}-{self.job.split()[0]}"


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
        ("ReturnsReluctant 3, output 1: a value of type Reluctant does not fit PicklePipe 3: ValueError: cannot be pickled",),
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
        (
            "ReturnsSet 3, output 1: a value of type set does not fit JSONPipe 3",
            "JSON can represent: JSON has no type for set; send numbers, text",
        ),
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
        ("ThreeForTwo 3: run must return one value for each of its 2 outputs, or one value that is not a tuple", "a tuple of 3"),
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
        ("Show 4, input 1: a block of StopsPipe 3 could not be read: StopIteration (compute block 1)\n",),
        ("unpack",),
    ),
    Failure(
        "unreadable_value",
        through("SendsShort"),
        "Show 4",
        ("Show 4, input 1: a block of PicklePipe 3 could not be read: StopIteration (compute block 1)\n",),
        ("__setstate__",),
    ),
    Failure(
        "unreadable_value",
        through("SendsGeneration"),
        "Show 4",
        ("Show 4, input 1: a block of PicklePipe 3 could not be read: GeneratorExit (compute block 1)\n",),
        ("leave",),
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
    Failure("kills_itself", through("Terminated"), "Terminated 3", ("SIGTERM", "which FISSION did not send")),
    Failure(
        "exits", through("Vanishes"), "Vanishes 3", ("its process exited with code 0 without reporting an error", "finish(), not by exit()")
    ),
    Failure("exits", through("Exits"), "Exits 3", ("SystemExit", "finish(), not by exit()"), ("run",)),
    Failure("exits", through("ExitsWithText"), "ExitsWithText 3", ("SystemExit: that was it", "finish(), not by exit()"), ("run",)),
    # exceptions that are no everyday ones
    Failure("odd_exceptions", through("Interrupts"), "Interrupts 3", ("KeyboardInterrupt",), ("run",)),
    Failure("odd_exceptions", beside("Exhausted"), "Exhausted 4", ("StopIteration",), ("run",)),
    Failure("odd_exceptions", through("Endless"), "Endless 3", ("RecursionError", "[Previous line repeated "), ("run", "run", "run")),
    Failure("odd_exceptions", through("SaysMuch"), "SaysMuch 3", ("ValueError: \u4e2d\u4e2d", "characters left out", "\u4e2d\n"), ("run",)),
    Failure("odd_exceptions", through("SaysUnprintableText"), "SaysUnprintableText 3", ("ValueError: half a \\udcff",), ("run",)),
    Failure("odd_exceptions", through("RaisesSpeechless"), "RaisesSpeechless 3", ("net.bad.Speechless: ",), ("run",)),
    Failure(
        "",
        'CSVSinkJob("../info.txt/result.csv", inputs=[PicklePipe(1)])',
        "CSVSinkJob 3",
        ("CSVSinkJob 3: its file '../info.txt/result.csv' cannot be written: ", "Not a directory: ", "to the job's folder"),
    ),
    # heads
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
    bad_project(fission, failure.fault, f"{GOOD} {failure.jobs}")
    done = simulate(fission, 1)
    check_failure(fission, done, failure.job, failure.texts, failure.frames)


def check_failure(fission: CommandLine, done: Finished, job: str, texts: tuple[str, ...], frames: tuple[str, ...]) -> None:
    """Check what is reported of a failed network, and that the good jobs' file is whole."""
    assert f"net: {job} failed after " in done.stdout, done
    assert re.search(rf"^  {job} +failed", done.stdout, re.MULTILINE), done
    begin = done.stderr.index(f"{job} failed:\n")
    for text in texts:
        assert text in done.stderr[begin:], done
    shown = re.findall(r'^ +File "(.*)", line \d+, in (\S+)$', done.stderr, re.MULTILINE)
    assert [function for _, function in shown] == list(frames), done
    assert {Path(file).name for file, _ in shown} <= {"bad.py"}, done
    assert ("Traceback" in done.stderr) == bool(frames), done
    assert f"{job} failed" in folder(fission, "fission.log").read_text(encoding="utf-8")
    kept = folder(fission, "2", "kept.csv")
    if kept.exists() and kept.stat().st_size:  # its job may have been stopped before it had written the header
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
    bad_project(fission, "raises", listed)
    done = simulate(fission, 1)
    check_failure(fission, done, "Raises 3", ("KeyError: 'missing'",), ("run", "deeper"))
    assert folder(fission, "4", "result.csv").read_text() == "pipe_3\n1\n2\n"
    assert column(folder(fission, "2", "kept.csv"))[:2] == [1, 2]


@pytest.mark.parametrize(
    ("pipe", "message", "frames"),
    [
        ("FailingDummyPipe", "a block is lost, and get_dummy, which stands for it, failed: FileNotFoundError", ("get_dummy",)),
        ("ShortDummyPipe", "a block is lost; get_dummy must return 4 bytes (BLOCK_SIZE), but returned 0", ()),
    ],
)
def test_a_dummy_that_cannot_be_made(fission: CommandLine, pipe: str, message: str, frames: tuple[str, ...]) -> None:
    listed = f"SendsMany(outputs=[{pipe}(1, 4)]), Loses(inputs=[{pipe}(1, 4)]),"
    bad_project(fission, "wrong_dummy", listed)
    done = simulate(fission, 1)
    check_failure(fission, done, "Loses 2", (f"{pipe} 1: {message}",), frames)


# -- executables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pipe", "job", "message"),
    [
        (b"\x7fELF\0 not really", "PicklePipe(3)", "Program 3", "Program 3: cannot start ./program: it is not a program for this machine"),
        ("#!/bin/sh\necho oh no >&2\nexit 3\n", "PicklePipe(3)", "Program 3", "./program exited with code 3 (0 means finished)"),
        ("#!/bin/sh\nno_such_command\n", "PicklePipe(3)", "Program 3", "exited with code 127, which says that a program was not found"),
        ("#!/bin/sh\nkill -9 $$\n", "PicklePipe(3)", "Program 3", "./program was killed by signal 9"),
        (
            "#!/bin/sh\necho hello world > $4\ncat $2 >/dev/null\n",
            "PicklePipe(3)",
            "Program 3",
            "Program 3, output 1: what ./program wrote is not a block of PicklePipe 3: PicklePipe 3: the data is not a pickle",
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
def test_an_executable_that_fails(fission: CommandLine, text: str | bytes, pipe: str, job: str, message: str) -> None:
    program(fission, text, pipe=pipe)
    done = simulate(fission, 1)
    check_failure(fission, done, job, (message,), ())
    if "oh no" in str(text):
        assert set(printed(done.stderr, "Program 3")) == {"oh no"}  # once for each of its incarnations


@pytest.mark.parametrize("kind", ["StopIteration", "SystemExit", "BaseException"])
def test_an_exception_of_read_wrapper_ends_no_thread_silently(fission: CommandLine, kind: str) -> None:
    """It is called in a thread of its own: the program would wait for ever for a reader."""
    pipe = f"""
from fission.core.pipes import JSONPipe

class WrapperPipe(JSONPipe):
    def read_wrapper(self, file):
        if super().read_wrapper(file) == b"3\\n":
            raise {kind}
        return b"0\\n"
"""
    listed = (
        f"Count(outputs=[JSONPipe(1), JSONPipe(2)]), CSVSinkJob('kept.csv', inputs=[JSONPipe(2)]), {through('Program', 'WrapperPipe(3)')}"
    )
    listed = listed.replace("PicklePipe(1)", "JSONPipe(1)")
    files = {"net/source/program": "#!/bin/sh\nexec cat <$2 >$4\n", "net/bad.py": pipe}
    bad_project(fission, "", listed, files, EXECUTABLE.format(executable="./program"))
    (fission.root / "net/source/program").chmod(0o755)
    done = simulate(fission, 1)
    message = f"Program 3, output 1: what ./program wrote is not a block of WrapperPipe 3: {kind}"
    check_failure(fission, done, "Program 3", (message,), ("read_wrapper",))


@pytest.mark.parametrize("kind", ["StopIteration", "SystemExit", "GeneratorExit"])
def test_an_exception_of_a_constructor_is_a_fault_in_its_file(fission: CommandLine, kind: str) -> None:
    config = f"class Odd(Count):\n    def __init__(self, **pipes):\n        raise {kind}\n"
    bad_project(fission, "", f"{GOOD} Odd(outputs=[PicklePipe(3)])", None, config)
    done = fission.run("net", "check", exit_code=2)
    assert kind in done.stderr, done
    assert "net/config.py" in done.stderr, done
    assert "Traceback" not in done.stderr, done


def test_an_executable_that_is_quick_loses_nothing(fission: CommandLine) -> None:
    """Its first block may be there before the next job has begun; what it left of an unfinished one is reported in the log."""
    program(fission, "#!/bin/sh\nprintf 12345678901 > $4\n", pipe="BytesPipe(3, 4)")
    done = simulate(fission, 0)
    assert printed(done.stdout, "Show 4") == ["got b'1234'", "got b'5678'"]
    assert "BytesPipe 3: the stream ended inside a block, after 3 of 4 bytes" in folder(fission, "fission.log").read_text()
