"""ExecutableJobs and MARVELOJobs in whole networks: small scripts with named pipes and descriptors."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.jobs import MARVELOJob
from fission.core.pipes import BytesPipe, JSONPipe
from fission.protocol.release import ReleaseRule
from fission.runtime import block_reader, executable_host, program
from fission.runtime.program import Program
from tests.e2e.support import column, finish, network, printed, rows, stop
from tests.waiting import CommandLine, Finished, Running, eventually, is_running

#: Copies its input at once, from the path after -i to the one after -o.
CAT = "exec cat <$2 >$4\n"
#: The same over inherited descriptors, for MARVELOJobs.
CAT_DESCRIPTORS = """
import sys
source, target = open(int(sys.argv[2]), "rb", buffering=0), open(int(sys.argv[4]), "wb", buffering=0)
while data := source.read(1000):
    target.write(data)
"""
#: Reads blocks of 4 bytes and writes them reversed; keeps a head of the size given by --head in front of each.
TURN = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("-i", action="append")
parser.add_argument("-o", action="append")
parser.add_argument("--head", type=int, default=0)
options = parser.parse_args()
source, target = open(options.i[0], "rb"), open(options.o[0], "wb")
while True:
    head = source.read(options.head)
    block = source.read(4)
    if len(block) < 4:
        break
    if options.head:
        print("head", head.hex(), flush=True)
    target.write(head + block[::-1])
    target.flush()
"""
JOBS = """
class Script(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "script.sh"
    DEPENDENCIES = "net/source"

class Descriptors(MARVELOJob):
    EXECUTABLE = sys.executable
    PARAMETERS = "script.py"
    DEPENDENCIES = "net/source"

class Python(ExecutableJob):
    EXECUTABLE = sys.executable
    PARAMETERS = "script.py"
    DEPENDENCIES = "net/source"

class Four(BytesPipe):
    pass

class Words(PythonJob):
    def run(self):
        for number in range(200):
            yield b"%04d" % number
"""
CHAIN = "Count(200, outputs=[{pipe}(1)]), {job}(inputs=[{pipe}(1)], outputs=[{pipe}(2)]), CSVSinkJob('r.csv', inputs=[{pipe}(2)])"


def start(fission: CommandLine, listed: str, *, sh: str = "", py: str = "", jobs: str = "") -> Running:
    files = network(JOBS + textwrap.dedent(jobs), listed)
    files |= {"net/source/script.sh": sh, "net/source/script.py": textwrap.dedent(py)}
    fission.project(files)
    client = fission.start("net", "simulate")
    client.end_input()
    return client


def simulate(fission: CommandLine, listed: str, *, exit_code: int = 0, **scripts: str) -> Finished:
    return finish(start(fission, listed, **scripts), fission.root, exit_code)


def result(fission: CommandLine, job: int = 3) -> Path:
    return fission.root / f"net/simulation/{job}/r.csv"


def log_of(fission: CommandLine) -> str:
    return (fission.root / "net/simulation/fission.log").read_text()


# -- ways in and out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipe", ["JSONPipe", "PicklePipe"])
@pytest.mark.parametrize("job", ["Script", "Descriptors"], ids=["named pipes", "descriptors"])
def test_blocks_go_through_an_executable(fission: CommandLine, pipe: str, job: str) -> None:
    done = simulate(fission, CHAIN.format(pipe=pipe, job=job), sh=CAT, py=CAT_DESCRIPTORS)
    assert column(result(fission)) == list(range(1, 201))
    assert done.stdout.count("  finished") == 3


def test_values_of_any_kind_go_through_an_executable_as_pickles(fission: CommandLine) -> None:
    """Large ones too: no part of a block may travel separately when an executable reads it."""
    jobs = """
    VALUES = [None, "text\\n", b"." * 300000, bytearray(200000), {"key": [1, (2, 3)]}, 10 ** 400, list(range(5000))]

    class Values(PythonJob):
        def run(self):
            for value in VALUES:
                yield (value,)

    class Compare(PythonJob):
        def setup(self, *args, **kwargs):
            self.left = list(VALUES)
        def run(self, value):
            wanted = self.left.pop(0)
            print("same" if value == wanted and type(value) is type(wanted) else f"not {value!r:.50}")
    """
    listed = "Values(outputs=[PicklePipe(1)]), Script(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), Compare(inputs=[PicklePipe(2)])"
    done = simulate(fission, listed, sh=CAT, jobs=jobs)
    assert printed(done.stdout, "Compare 3") == ["same"] * 7


def test_blocks_of_bytes(fission: CommandLine) -> None:
    listed = "Words(outputs=[BytesPipe(1, 4)]), Python(inputs=[BytesPipe(1, 4)], outputs=[BytesPipe(2, 4)]), Show(inputs=[BytesPipe(2, 4)])"
    done = simulate(fission, listed, py=TURN)
    assert printed(done.stdout, "Show 3") == [f"got {(b'%04d' % number)[::-1]!r}" for number in range(200)]


def test_block_count_of_an_executables_input_and_output(fission: CommandLine) -> None:
    """Blocks are written one after another; BLOCK_COUNT of them arrive as a list."""
    listed = """
    Words(outputs=[BytesPipe(1, 4, 5)]),
    Python(inputs=[BytesPipe(1, 4, 5)], outputs=[BytesPipe(2, 4, 10)]),
    Show(inputs=[BytesPipe(2, 4, 10)]),
    """
    done = simulate(fission, listed, py=TURN)
    lines = printed(done.stdout, "Show 3")
    assert len(lines) == 20
    assert lines[1] == f"got {[(b'%04d' % number)[::-1] for number in range(10, 20)]}"


@pytest.mark.parametrize("size", [1, 2])
def test_heads(fission: CommandLine, size: int) -> None:
    """HEAD_SIZE bytes before each block, in and out; the finished bit of the last block comes too, and the reset bit of the first one."""
    jobs = f"""
    HEAD_SIZE = {size}

    class Heads(Python):
        HEAD = True
        PARAMETERS = "script.py --head {size}"

    class Marks(PythonJob):
        HEAD = True
        def run(self):
            for number in range(4):
                self.head[7] = number % 2
                if number == 3:
                    self.finish()
                yield b"%04d" % number

    class See(PythonJob):
        HEAD = True
        def run(self, block):
            print(block.decode(), self.head.to_bytes().hex())
    """
    listed = "Marks(outputs=[BytesPipe(1, 4)]), Heads(inputs=[BytesPipe(1, 4)], outputs=[BytesPipe(2, 4)]), See(inputs=[BytesPipe(2, 4)])"
    done = simulate(fission, listed, py=TURN, jobs=jobs)
    behind = "00" * (size - 1)
    heads = ["40", "01", "00", "21"]
    assert printed(done.stdout, "Heads 2") == [f"head {head}{behind}" for head in heads]
    assert printed(done.stdout, "See 3") == [f"{(b'%04d' % n)[::-1].decode()} {head}{behind}" for n, head in enumerate(heads)]


def test_flags_and_their_order(fission: CommandLine) -> None:
    """One flag a pipe, in the order of the config, inputs first; parameters before them, as a shell would split them."""
    jobs = """
    class Flags(ExecutableJob):
        EXECUTABLE = f"{sys.executable} script.py"
        PARAMETERS = "--text 'two words' --last"
        DEPENDENCIES = "net/source"
        INPUT_FLAG = "--in"
        OUTPUTS_FLAG = "--out"
    """
    script = """
    import json, os, sys
    print(json.dumps([os.path.basename(word) for word in sys.argv[1:]]), flush=True)
    places = dict(zip(sys.argv[4::2], sys.argv[5::2]))
    inputs = [open(sys.argv[index]) for index in (5, 7)]
    outputs = [open(sys.argv[index], "w") for index in (9, 11, 13)]
    for first, second in zip(*inputs):
        for target, value in zip(outputs, (int(first), int(second), int(first) * int(second))):
            print(value, file=target, flush=True)
    """
    listed = """
    Count(30, outputs=[JSONPipe(7)]),
    Flags(inputs=[JSONPipe(7), JSONPipe(3)], outputs=[JSONPipe(9), JSONPipe(2), JSONPipe(5)]),
    Count(30, outputs=[JSONPipe(3)]),
    CSVSinkJob("r.csv", inputs=[JSONPipe(9), JSONPipe(2), JSONPipe(5)]),
    """
    done = simulate(fission, listed, py=script, jobs=jobs)
    (line,) = printed(done.stdout, "Flags 2")
    words = eval(line)
    assert words[:3] == ["--text", "two words", "--last"]
    assert words[3::2] == ["--in", "--in", "--out", "--out", "--out"]
    assert [re.sub(r"\D", "", word) for word in words[4::2]] == ["7", "3", "9", "2", "5"]
    assert rows(result(fission, 4))[1:] == [[str(n), str(n), str(n * n)] for n in range(1, 31)]


def test_inputs_may_be_opened_in_any_order(fission: CommandLine) -> None:
    script = """
    import sys
    second, out, first = open(sys.argv[4]), open(sys.argv[6], "w"), open(sys.argv[2])
    for line in second.read().split():
        pass
    print(sum(map(int, first.read().split())) + int(line), file=out)
    """
    listed = """
    Count(3, outputs=[JSONPipe(1), JSONPipe(2)]),
    Sum(inputs=[JSONPipe(1), JSONPipe(2)], outputs=[JSONPipe(3)]),
    CSVSinkJob("r.csv", inputs=[JSONPipe(3)]),
    """
    jobs = """
    class Sum(Python):
        RATIO = None
    """
    simulate(fission, listed, py=script, jobs=jobs)
    assert column(result(fission)) == [9]


@pytest.mark.parametrize("job", ["Script", "Descriptors"])
def test_an_executable_as_source(fission: CommandLine, job: str) -> None:
    listed = f"{job}(outputs=[JSONPipe(1)]), CSVSinkJob('r.csv', inputs=[JSONPipe(1)])"
    simulate(fission, listed, sh="seq 5 >$2\n", py="import os, sys\nos.write(int(sys.argv[2]), b'1\\n2\\n3\\n4\\n5\\n')")
    assert column(result(fission, 2)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("job", ["Script", "Descriptors"])
def test_an_executable_as_sink(fission: CommandLine, job: str) -> None:
    python = "import sys\nopen('kept.txt', 'w').write(open(int(sys.argv[2])).read())\nprint('done')"
    done = simulate(
        fission, f"Count(5, outputs=[JSONPipe(1)]), {job}(inputs=[JSONPipe(1)])", sh="cat <$2 >kept.txt\necho done\n", py=python
    )
    assert (fission.root / "net/simulation/2/kept.txt").read_text().split() == ["1", "2", "3", "4", "5"]
    assert printed(done.stdout, f"{job} 2") == ["done"]
    assert re.search(rf"^  {job} 2 +finished +5 compute blocks$", done.stdout, re.MULTILINE), done.stdout  # the last ones too


def test_three_executables_in_a_row(fission: CommandLine) -> None:
    listed = """
    Script(outputs=[JSONPipe(1)]),
    Cat(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
    Cat(inputs=[JSONPipe(2)], outputs=[JSONPipe(3)]),
    CSVSinkJob("r.csv", inputs=[JSONPipe(3)]),
    """
    jobs = """
    class Cat(Script):
        PARAMETERS = "-c 'exec cat <$1 >$3'"
    """
    simulate(fission, listed, sh="seq 1 3000 >$2\n", jobs=jobs)
    assert column(result(fission, 4)) == list(range(1, 3001))


def test_an_executable_that_has_only_optional_inputs(fission: CommandLine) -> None:
    """It gets every block of each, once, as it comes, and the end of each by itself; it may read them in any order."""
    jobs = """
    class Slow(PythonJob):
        def run(self):
            for number in range(10):
                time.sleep(0.02)
                yield number

    class Cat(Script):
        PARAMETERS = "-c 'exec 3<$1 4<$3 5>$5; cat <&4 >&5; cat <&3 >&5'"
    """
    listed = """
    Count(3000, outputs=[OptionalJSONPipe(1)]),
    Slow(outputs=[OptionalJSONPipe(2)]),
    Cat(inputs=[OptionalJSONPipe(1), OptionalJSONPipe(2)], outputs=[JSONPipe(3)]),
    CSVSinkJob("r.csv", inputs=[JSONPipe(3)]),
    """
    simulate(fission, listed, jobs=jobs)
    assert column(result(fission, 4)) == [*range(10), *range(1, 3001)]


def test_an_optional_input_of_an_executable(fission: CommandLine) -> None:
    jobs = """
    class Gain(OptionalJSONPipe):
        OPTIONAL_DEFAULT = b"3"

    class Gains(PythonJob):
        def run(self):
            while not os.path.exists("never"):
                time.sleep(1)
            yield 1
    """
    script = """
    import sys
    gain, values, out = open(sys.argv[2]), open(sys.argv[4]), open(sys.argv[6], "w")
    for value in values:
        print(int(value) * int(gain.readline()), file=out, flush=True)
    """
    listed = """
    Gains(outputs=[Gain(1)]),
    Count(10, outputs=[JSONPipe(2)]),
    Python(inputs=[Gain(1), JSONPipe(2)], outputs=[JSONPipe(3)]),
    CSVSinkJob("r.csv", inputs=[JSONPipe(3)]),
    """
    simulate(fission, listed, py=script, jobs=jobs)
    assert column(result(fission, 4)) == [3 * value for value in range(1, 11)]


# -- ends -------------------------------------------------------------------------------------------------------------


def test_exit_code_3_is_a_failure_of_the_job(fission: CommandLine) -> None:
    script = "read line <$2\necho got $line\necho no more >&2\nexit 3\n"
    done = simulate(fission, CHAIN.format(pipe="JSONPipe", job="Script"), sh=script, exit_code=1)
    assert set(printed(done.stdout, "Script 2")) == {"got 1"}  # each of its incarnations is given the block again
    assert set(printed(done.stderr, "Script 2")) == {"no more"}
    assert "Script 2 failed:\n" in done.stderr
    assert "exited with code 3" in done.stderr
    assert "net: Script 2 failed after" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_executable_that_is_killed(fission: CommandLine) -> None:
    listed = (
        "Endless(outputs=[JSONPipe(1)]), Script(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), CSVSinkJob('r.csv', inputs=[JSONPipe(2)])"
    )
    client = start(fission, listed, sh="echo pid $$\n" + CAT)
    pid = int(client.wait_for("Script 2] pid").split()[-1])
    eventually(lambda: len(rows(result(fission))) > 10, 10, "rows")
    os.kill(pid, signal.SIGKILL)
    client.wait_for("Failover: Script 2 died", stream="stderr")
    before = len(rows(result(fission)))
    eventually(lambda: len(rows(result(fission))) > before + 10, 10, "more rows")
    client.interrupt()
    done = finish(client, fission.root, 130)
    assert "Script 2 failed:\n" in done.stderr
    assert "SIGKILL" in done.stderr
    values = column(result(fission))
    assert values == list(range(1, len(values) + 1))


def test_an_executable_that_ends_early_and_well_finishes_the_job(fission: CommandLine) -> None:
    """Exit code 0 means finished: the jobs after it end, and so do those before it."""
    listed = (
        "Endless(outputs=[JSONPipe(1)]), Script(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), CSVSinkJob('r.csv', inputs=[JSONPipe(2)])"
    )
    done = simulate(fission, listed, sh="head -n 7 <$2 >$4\n")
    assert column(result(fission)) == list(range(1, 8))
    assert done.stdout.count("  finished") == 3


@pytest.mark.parametrize("job", ["Script", "Descriptors"])
def test_an_executable_that_never_opens_its_pipes(fission: CommandLine, job: str) -> None:
    """It ends well without opening them: no thread waits for it in the open of a named pipe."""
    listed = (
        f"Endless(outputs=[JSONPipe(1)]), {job}(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), CSVSinkJob('r.csv', inputs=[JSONPipe(2)])"
    )
    done = simulate(fission, listed, sh="exit 0\n", py="")
    assert rows(result(fission)) == [["pipe_2"]]
    assert done.stdout.count("  finished") == 3


@pytest.mark.parametrize("job", ["Script", "Descriptors"])
def test_an_executable_that_never_opens_its_pipes_and_does_not_end(fission: CommandLine, job: str) -> None:
    listed = (
        f"Endless(outputs=[JSONPipe(1)]), {job}(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), CSVSinkJob('r.csv', inputs=[JSONPipe(2)])"
    )
    client = start(fission, listed, sh="echo idle\nexec sleep 1000\n", py="import time\nprint('idle', flush=True)\ntime.sleep(1000)")
    client.wait_for(f"{job} 2] idle")
    done = stop(client, fission.root)
    assert done.stdout.count("  stopped") == 3, done


def test_executables_are_stopped_by_ctrl_c(fission: CommandLine) -> None:
    """One that works, and one that does not listen; with what they have started."""
    jobs = """
    class Deaf(Script):
        PARAMETERS = "-c 'trap : TERM INT HUP; echo pid $$; sleep 1000 & echo pid $!; while :; do wait; done'"

    class Polite(Script):
        PARAMETERS = "-c 'trap \\"echo goodbye; exit 0\\" TERM; echo pid $$; sleep 1000 & wait'"
    """
    listed = """
    Endless(outputs=[JSONPipe(1), JSONPipe(2), JSONPipe(3)]),
    Script(inputs=[JSONPipe(1)]),
    Deaf(inputs=[JSONPipe(2)]),
    Polite(inputs=[JSONPipe(3)]),
    """
    client = start(fission, listed, sh="echo pid $$\ncat <$2 >kept.txt\n", jobs=jobs)
    client.wait_for(re.compile(r"\] pid \d+$"), count=4)
    pids = [int(line.split()[-1]) for line in client.stdout.splitlines() if re.search(r"\] pid \d+$", line)]
    done = stop(client, fission.root)
    assert not [pid for pid in pids if is_running(pid)]
    assert done.stdout.count("  stopped") == 4, done
    assert "[Polite 4] goodbye" in done.stdout


def test_a_sink_that_has_enough_ends_an_executable_that_would_continue(fission: CommandLine) -> None:
    """Its exit code does not matter then: no job needs its blocks any longer."""
    jobs = """
    class Enough(PythonJob):
        def run(self, value):
            print("got", value)
            if value == 3:
                self.finish()
    """
    script = "number=0\nwhile :; do number=$((number + 1)); echo $number || exit 9; done >$2\n"
    done = simulate(fission, "Script(outputs=[JSONPipe(1)]), Enough(inputs=[JSONPipe(1)])", sh=script, jobs=jobs)
    assert printed(done.stdout, "Enough 2") == ["got 1", "got 2", "got 3"]
    assert done.stdout.count("  finished") == 2


def test_a_last_block_that_is_not_complete(fission: CommandLine) -> None:
    """It cannot be used; the whole ones before it arrive, and the log tells."""
    listed = "Script(outputs=[BytesPipe(1, 4)]), Show(inputs=[BytesPipe(1, 4)])"
    client = start(fission, listed, sh="printf aaaabbbbcc >$2\n")
    done = finish(client, fission.root, None)
    assert printed(done.stdout, "Show 2") == ["got b'aaaa'", "got b'bbbb'"]
    assert re.search(r"2\b.* bytes", done.stderr + log_of(fission))


@pytest.mark.parametrize(
    ("text", "what"),
    [("no such program at all", "no_such_program"), ("./missing", "missing"), ("./plain", "not executable")],
)
def test_executables_that_cannot_be_started_are_found_before_anything_starts(fission: CommandLine, text: str, what: str) -> None:
    jobs = f"""
    class Wrong(Script):
        EXECUTABLE = "{text.replace(" ", "_")}"
    """
    files = network(JOBS + textwrap.dedent(jobs), "Count(outputs=[JSONPipe(1)]), Wrong(inputs=[JSONPipe(1)])")
    fission.project(files | {"net/source/plain": "#!/bin/sh\n"})
    done = fission.run("net", "simulate", exit_code=2)
    assert "Wrong 2" in done.stderr
    assert what in done.stderr
    assert not (fission.root / "net/simulation").exists()


def test_an_executable_that_only_the_system_refuses(fission: CommandLine) -> None:
    jobs = """
    class Wrong(Script):
        EXECUTABLE = "./wrong"
    """
    fission.project(network(JOBS + textwrap.dedent(jobs), "Endless(outputs=[JSONPipe(1)]), Wrong(inputs=[JSONPipe(1)])"))
    script = fission.root / "net/source/wrong"
    script.parent.mkdir()
    script.write_bytes(b"\x7fELF\0 but not really")
    script.chmod(0o755)
    client = fission.start("net", "simulate")
    done = finish(client, fission.root, 1)
    assert "Wrong 2 failed:\nWrong 2: cannot start ./wrong: it is not a program for this machine" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_named_pipe_is_left_and_no_process_runs_through_a_shell(fission: CommandLine) -> None:
    listed = CHAIN.format(pipe="JSONPipe", job="Script")
    simulate(fission, listed, sh=CAT)
    assert {path.name for path in (fission.root / "net/simulation/2").iterdir()} == {"__init__.py", "script.py", "script.sh"}


def test_descriptors_are_all_that_an_executable_inherits(fission: CommandLine) -> None:
    """Besides the standard ones: no socket, log or pipe of the job's process, which it could hold open for ever."""
    script = """
    import os, sys
    known = {"0", "1", "2", sys.argv[2], sys.argv[4]}
    places = {name: os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    print("extra", [place for name, place in places.items() if name not in known and os.path.exists(f"/proc/self/fd/{name}")], flush=True)
    """
    jobs = """
    class Looks(Python, MARVELOJob):
        pass
    """
    listed = CHAIN.format(pipe="JSONPipe", job="Looks")
    done = simulate(fission, listed, py=script, jobs=jobs)
    assert printed(done.stdout, "Looks 2") == ["extra []"]


# -- a block that does not come ---------------------------------------------------------------------------------------


class _Shell:
    """As much of an endpoint and its shell as the reading side of an executable needs."""

    unwanted = pressed = False

    def __init__(self) -> None:
        self.endpoint = self
        self.outputs = [_Output()]
        self.rule = ReleaseRule(window_blocks=1, window_bytes=1)
        self.woken = threading.Event()

    def drain_inputs(self) -> None:
        pass

    def start(self) -> None:
        pass

    def wake(self) -> None:
        self.woken.set()


class _Output:
    closed = packs = False

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.machine = self

    def put(self, payload: bytes, head: int = 0) -> None:
        self.blocks.append(payload)

    def flush(self) -> None:
        pass


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_reader, "SAY_WAITING_S", 0.02)
    monkeypatch.setattr(program, "SAY_WAITING_S", 0.02)


def test_the_log_says_how_much_of_a_block_is_awaited(short_patience: None, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """An executable that ignores the framing looks like a slow one, so the log says how much of a block is there."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source, open(writing, "wb", buffering=0) as target:
        reader = block_reader.BlockReader(source.fileno(), "BytesPipe 2 from ./slow")
        blocks: list[bytes] = []
        thread = threading.Thread(target=lambda: blocks.append(reader.read(8)))
        thread.start()
        with caplog.at_level(logging.INFO, "fission.runtime"):
            target.write(b"abc")
            eventually(lambda: reader.waits is not None and reader.waits[0] == 3, 5, "three bytes")
            begun = reader.waits
            assert begun is not None
            reader.say_waiting(begun[2] + 0.01)
            assert caplog.messages == []  # not yet
            for seconds in (0.03, 0.06, 10.0):
                reader.say_waiting(begun[2] + seconds)
            assert caplog.messages == ["waits for BytesPipe 2 from ./slow: 3 of 8 bytes of a block are there"]  # once
            target.write(b"de")
            eventually(lambda: reader.waits is not None and reader.waits[0] == 5, 5, "five bytes")
            assert reader.waits is not None
            reader.say_waiting(reader.waits[2] + 1)
            assert caplog.messages[1:] == ["waits for BytesPipe 2 from ./slow: 5 of 8 bytes of a block are there"]
        target.write(b"fgh and more")
        thread.join(5)
        assert blocks == [b"abcdefgh"]
        reader.say_waiting(time.monotonic() + 100)  # nothing is awaited
        assert len(caplog.messages) == 2


def test_the_log_says_when_the_end_of_a_line_is_awaited(short_patience: None, caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source, open(writing, "wb", buffering=0) as target:
        reader = block_reader.BlockReader(source.fileno(), "JSONPipe 2 from ./slow")
        lines: list[bytes] = []
        thread = threading.Thread(target=lambda: lines.append(JSONPipe.read_wrapper(JSONPipe(2), reader)))  # type: ignore[arg-type]
        thread.start()
        target.write(b"[1, 2")
        eventually(lambda: reader.waits is not None and reader.waits[0] == 5, 5, "five bytes")
        with caplog.at_level(logging.INFO, "fission.runtime"):
            assert reader.waits is not None
            reader.say_waiting(reader.waits[2] + 1)
        assert caplog.messages == ["waits for JSONPipe 2 from ./slow: 5 bytes are there, the end of the block is not"]
        target.write(b"]\n")
        thread.join(5)
        assert lines == [b"[1, 2]\n"]


def test_the_watch_over_a_running_executable_reports_it(short_patience: None, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The same with the host's own threads and a real executable that owes half a block and then ends."""

    class Slow(MARVELOJob):
        EXECUTABLE = sys.executable
        PARAMETERS = '-c \'import os, sys; os.write(int(sys.argv[2]), b"wholhal"); open("go").read()\''

    os.mkfifo(tmp_path / "go")
    go = os.open(tmp_path / "go", os.O_RDWR)  # so that neither side waits for the other
    with collecting():
        job = Slow(outputs=[BytesPipe(2, 4)])
    shell: Any = _Shell()
    bundle: Any = type("Bundle", (), {"head_size": 1, "folder": str(tmp_path), "window_blocks": 8, "feedback": frozenset(), "kept": {}})()
    host = executable_host.ExecutableHost(job, shell, bundle)
    with caplog.at_level(logging.DEBUG, "fission.runtime"):
        host._program = Program(job, str(tmp_path), host)
        host._numbered.set()
        host._program.start()
        try:
            eventually(
                lambda: any("3 of 4 bytes of a block are there" in text for text in caplog.messages), 5, lambda: str(caplog.messages)
            )
            assert shell.outputs[0].blocks == [b"whol"]
        finally:
            os.close(go)
            host._await_end(host._program)
    assert shell.woken.is_set()


def test_an_executable_that_must_stop_while_it_starts_can_say_goodbye(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It runs already, but the call that starts it has not returned, when the order comes."""

    class Polite(MARVELOJob):
        EXECUTABLE = "sh"
        PARAMETERS = "-c 'trap \"echo goodbye >said; exit 0\" TERM; echo >runs; while :; do sleep 0.01; done'"

    class Stopped(BaseException):
        pass

    notified = threading.Event()

    def tell(number: int, frame: object) -> None:
        notified.set()
        raise Stopped

    def popen(*arguments: Any, **keywords: Any) -> Any:
        process = subprocess.Popen(*arguments, **keywords)
        started.append(process)
        eventually((tmp_path / "runs").exists, 10, "its first step")
        os.kill(os.getpid(), signal.SIGUSR1)
        notified.wait(10)
        return process

    started: list[subprocess.Popen[bytes]] = []
    shell: Any = _Shell()
    bundle: Any = type("Bundle", (), {"head_size": 1, "folder": str(tmp_path), "window_blocks": 8, "feedback": frozenset(), "kept": {}})()
    with collecting():
        job = Polite(outputs=[BytesPipe(2, 4)])
    host = executable_host.ExecutableHost(job, shell, bundle)
    monkeypatch.setattr(program, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": popen}))
    before = signal.signal(signal.SIGUSR1, tell)
    try:
        with pytest.raises(Stopped):
            host.run()
        assert (tmp_path / "said").read_text() == "goodbye\n"
    finally:
        signal.signal(signal.SIGUSR1, before)
        for process in started:
            process.kill()
            process.wait()
        assert host._program is not None
        for close in (*host._program._ours, *(lambda one=one: one for one in host._program._theirs)):  # what a process leaves to its end
            os.close(close())


NAIVE = """
import struct
from fission.core.pipes import BasePipe

class Sized(BasePipe):
    BLOCK_SIZE = "sized"
    def read(self, file):
        return file.read(struct.unpack("<I", file.read(4))[0])

class Line(BasePipe):
    BLOCK_SIZE = "line"
    def read(self, file):
        return next(file)
"""
#: Writes the same three words as lines and with their sizes; MISSING bytes of the second stream are left out.
THREE_WORDS = """
import struct, sys
open(sys.argv[2], "wb").write(b"".join(b"w%d\\n" % number for number in range(3)))
text = b"".join(struct.pack("<I", 2) + b"w%d" % number for number in range(3))
open(sys.argv[4], "wb").write(text[: len(text) - MISSING])
"""


@pytest.mark.parametrize("missing", [0, 4], ids=["between blocks", "inside a block"])
def test_the_end_of_the_stream_is_the_end_however_read_reports_it(fission: CommandLine, missing: int) -> None:
    """Inside a block it remains an error of the pipe or of the program."""
    jobs = f"""
{NAIVE}
class Three(ExecutableJob):
    EXECUTABLE = sys.executable
    PARAMETERS = "script.py"
    DEPENDENCIES = "net/source"
    RESTARTS = 0
"""
    listed = "Three(outputs=[Line(1), Sized(2)]), Show(inputs=[Line(1), Sized(2)])"
    done = simulate(fission, listed, jobs=jobs, py=THREE_WORDS.replace("MISSING", str(missing)), exit_code=1 if missing else 0)
    if missing:
        assert "is not a block of Sized 2: error: unpack requires a buffer of 4 bytes" in done.stderr
    else:
        assert printed(done.stdout, "Show 2") == [f"got b'w{number}\\n' b'w{number}'" for number in range(3)]
        for pipe, kind in (("Line 1", "StopIteration"), ("Sized 2", "error: unpack")):
            assert f"{pipe}: at the end of the stream it raised {kind}" in log_of(fission)
