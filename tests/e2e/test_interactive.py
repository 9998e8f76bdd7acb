"""InteractiveJobs: `send` from other processes, standard input, a terminal, a desktop with windows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fission as package
from tests.deadlines import Deadline
from tests.e2e.support import STOP_S, column, descendants, finish, network, printed, rows, stop
from tests.waiting import CommandLine, Running, eventually

#: No desktop, even if the machine of the test has one.
PLAIN: dict[str, str | None] = {"DISPLAY": None, "WAYLAND_DISPLAY": None}
ONE_CONSOLE = "InteractiveJob(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"
TWO_CONSOLES = """
InteractiveJob(outputs=[PicklePipe(1)]),
InteractiveJob(outputs=[PicklePipe(2)]),
Show(inputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(2)]),
"""
#: A network that runs without its console, as version 4 of the tutorial: the console feeds an optional pipe.
GAIN = """
class Gain(PythonJob):
    def run(self, gain, value):
        print("gain", gain)
        return value

class GainPipe(OptionalPicklePipe):
    OPTIONAL_DEFAULT = "1"
"""
GAIN_NETWORK = """
InteractiveJob(outputs=[GainPipe(1)]),
Endless(outputs=[PicklePipe(2)]),
Gain(inputs=[GainPipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""


def simulate(fission: CommandLine, *, terminal: bool = False) -> Running:
    return fission.start("net", "simulate", terminal=terminal, env=PLAIN)


# -- send -------------------------------------------------------------------------------------------------------------


def test_send_from_another_process(fission: CommandLine) -> None:
    fission.project(network("", TWO_CONSOLES))
    client = simulate(fission)
    client.wait_for("InteractiveJob 1 waits for lines: in another terminal, fission net send 1", stream="stderr")
    client.wait_for("fission net send 2", stream="stderr")
    fission.run("net", "send", "1", stdin="one\ntwo words\nümläut\nlast without an end", exit_code=0)
    client.wait_for("Show 3] got last without an end")
    fission.run("net", "send", "2", "--line", "first", "--line", "second", exit_code=0)
    client.wait_for("Show 4] got second")
    done = stop(client, fission.root)
    assert printed(done.stdout, "Show 3") == ["got one", "got two words", "got ümläut", "got last without an end"]
    assert printed(done.stdout, "Show 4") == ["got first", "got second"]


def test_each_line_is_sent_at_once(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    sender = fission.start("net", "send", "1")
    for word in ("one", "two", "three"):
        sender.send_line(word)
        client.wait_for(f"Show 2] got {word}")
    other = fission.start("net", "send", "1")
    other.send_line("beside it")
    client.wait_for("Show 2] got beside it")
    for command in (sender, other):
        command.end_input()
        command.wait(exit_code=0)
    fission.run("net", "send", "1", "--line", "still open", exit_code=0)
    client.wait_for("Show 2] got still open")
    stop(client, fission.root)


def test_send_can_end_the_console(fission: CommandLine) -> None:
    """All input of such a network is typed, so the end of the console ends it."""
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    fission.run("net", "send", "1", "--line", "last", "--end", exit_code=0)
    done = finish(client, fission.root, 0)
    assert printed(done.stdout, "Show 2") == ["got last"]
    assert "net: finished" in done.stdout


def test_lines_that_are_sent_before_the_job_is_there_are_not_lost(fission: CommandLine) -> None:
    jobs = """
    class Late(InteractiveJob):
        def setup(self, *args, **kwargs):
            super().setup(*args, **kwargs)
            while not os.path.exists("go"):
                time.sleep(0.005)
    """
    fission.project(network(jobs, ONE_CONSOLE.replace("InteractiveJob", "Late")))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    fission.run("net", "send", "1", stdin="".join(f"{number}\n" for number in range(500)), exit_code=0)
    (fission.root / "net/simulation/1/go").touch()
    client.wait_for("Show 2] got 499")
    done = stop(client, fission.root)
    assert printed(done.stdout, "Show 2") == [f"got {number}" for number in range(500)]


def test_many_senders_at_once(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    senders = [fission.start("net", "send", "1") for _ in range(4)]
    for name, sender in enumerate(senders):
        sender.send("".join(f"{name} {number}\n" for number in range(100)))
        sender.end_input()
    for sender in senders:
        sender.wait(exit_code=0)
    client.wait_for("Show 2] got", count=400)
    done = stop(client, fission.root)
    lines = [line.split()[1:] for line in printed(done.stdout, "Show 2")]
    for name in range(len(senders)):  # each sender's in its order
        assert [number for sender, number in lines if sender == str(name)] == [str(number) for number in range(100)]


@pytest.mark.parametrize("job", ["2", "99"])
def test_send_to_a_job_that_is_not_a_console(fission: CommandLine, job: str) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    done = fission.run("net", "send", job, "--line", "x", exit_code=2)
    assert f"Error: job {job} is not an InteractiveJob of net; there are: 1 (InteractiveJob 1)" in done.stderr
    assert "Traceback" not in done.stderr
    stop(client, fission.root)


def test_send_to_a_network_that_does_not_run(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    for hint in ("start it in another terminal: fission net simulate", "start it again: fission net simulate"):
        done = fission.run("net", "send", "1", "--line", "a line", exit_code=2)
        assert done.stderr.startswith("Error: the network net is not running on this machine; ")
        assert hint in done.stderr
        client = simulate(fission)
        client.wait_for("Show 2 started", stream="stderr")
        stop(client, fission.root)


def test_send_to_a_network_without_consoles(fission: CommandLine) -> None:
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    client = simulate(fission)
    client.wait_for("got 1")
    done = fission.run("net", "send", "1", "--line", "x", exit_code=2)
    assert done.stderr == "Error: job 1 is not an InteractiveJob of net; it has none\n"
    stop(client, fission.root)


@pytest.mark.parametrize(("network_name", "job"), [("nat", "1"), ("net", "one"), ("net", "0")])
def test_wrong_use_of_send(fission: CommandLine, network_name: str, job: str) -> None:
    fission.project(network("", ONE_CONSOLE))
    done = fission.run(network_name, "send", job, "--line", "x", exit_code=2)
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_the_network_ends_while_a_sender_is_open(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    sender = fission.start("net", "send", "1")
    sender.send_line("one")
    client.wait_for("Show 2] got one")
    client.interrupt()
    client.wait(exit_code=130)
    sender.send_line("two")
    sender.end_input()
    done = sender.wait(exit_code=2)
    assert "net" in done.stderr
    assert "Traceback" not in done.stderr


def test_parse_gives_values_and_a_typing_mistake_ends_nothing(fission: CommandLine) -> None:
    jobs = """
    class Numbers(InteractiveJob):
        def parse(self, line):
            return int(line) * 10
    """
    fission.project(network(jobs, ONE_CONSOLE.replace("InteractiveJob", "Numbers")))
    client = simulate(fission)
    client.wait_for("Show 2 started", stream="stderr")
    for line in ("4", "four", "5"):
        client.send_line(line)
    client.wait_for("Show 2] got 50")
    assert "invalid literal" in client.wait_for("Numbers 1] ", stream="stderr")
    done = stop(client, fission.root)
    assert printed(done.stdout, "Show 2") == ["got 40", "got 50"]


# -- standard input ---------------------------------------------------------------------------------------------------


def test_standard_input_is_the_console_if_there_is_one(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.send("first\nsec")
    client.wait_for("Show 2] got first")
    client.send("ond\r\n")
    client.wait_for("Show 2] got second")
    client.send("no newline")
    client.end_input()
    done = finish(client, fission.root, 0)
    assert printed(done.stdout, "Show 2") == ["got first", "got second", "got no newline"]


@pytest.mark.parametrize("kind", ["PicklePipe", pytest.param("OptionalPicklePipe", marks=[pytest.mark.slow, pytest.mark.soak])])
def test_a_writer_that_is_faster_than_the_job_must_wait(fission: CommandLine, kind: str) -> None:
    """As `yes | fission net simulate`: neither the client nor the job collects lines that are not taken, and no line is lost."""
    jobs = """
    class Held(PythonJob):
        def setup(self, *args, **kwargs):
            self.count = 0
            while not os.path.exists("go"):
                time.sleep(0.01)
        def run(self, tick, line=None):
            value = tick if line is None else line
            if value is not None and value == f"line {self.count}":
                self.count += 1
                if self.count % 1000 == 0:
                    print("has", self.count)
    """
    if kind == "PicklePipe":
        listed = "InteractiveJob(outputs=[PicklePipe(1)]), Held(inputs=[PicklePipe(1)])"
    else:
        listed = """
        InteractiveJob(outputs=[OptionalPicklePipe(1)]),
        Held(inputs=[PicklePipe(2), OptionalPicklePipe(1)]),
        ClockJob(0.0001, outputs=[PicklePipe(2)]),
        """
    fission.project(network(jobs, listed))
    client = simulate(fission)
    assert client.process.stdin is not None
    descriptor = client.process.stdin.fileno()
    os.set_blocking(descriptor, False)
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    sent = full = 0

    def is_full() -> bool:
        """Nothing was taken from the pipe for 100 looks."""
        nonlocal sent, full
        try:
            sent += os.write(descriptor, text[sent : sent + 65536])
            full = 0
        except BlockingIOError:
            full += 1
        return (full >= 100 and sent > 100_000) or sent == len(text)  # more than the pipe itself holds: the client reads

    eventually(is_full, 20, lambda: f"standard input is full; {sent} bytes were taken")
    lines = text[:sent].count(b"\n")
    assert lines < 30_000  # a window, what may be under way, and what the system's own pipe holds
    os.set_blocking(descriptor, True)
    (fission.root / "net/simulation/2/go").touch()
    rest = text[sent : text.index(b"line 40000\n")]
    client.process.stdin.write(rest)
    client.process.stdin.flush()
    client.wait_for("has 40000", 30)
    stop(client, fission.root)


def test_long_lines_arrive_whole_and_too_long_ones_are_named(fission: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = """
    class Length(PythonJob):
        def run(self, line):
            print(len(line), line[:1], line[-1:])
    """
    fission.project(network(jobs, "InteractiveJob(outputs=[PicklePipe(1)]), Length(inputs=[PicklePipe(1)])"))
    client = simulate(fission)
    assert client.process.stdin is not None
    for line in ("a" * 99_999 + "z", "b" * 100_000 + "z", "ä" * 300_000 + "z", "c" * (17 << 20), "short"):
        client.process.stdin.write(line.encode() + b"\n")
    client.process.stdin.flush()
    for seen in ("Length 2] 100000 a z", "Length 2] 100001 b z", "Length 2] 300001 ä z", "Length 2] 5 s t"):
        client.wait_for(seen, 30)
    client.wait_for("a line of standard input must have at most 16777216 bytes, but has more; it was skipped", 30, stream="stderr")
    fission.run("net", "send", "1", "--line", "x" * 120_000, exit_code=0)
    client.wait_for("Length 2] 120000 x x", 30)
    stop(client, fission.root)


def test_end_of_input_ends_the_console_and_not_the_network(fission: CommandLine) -> None:
    fission.project(network(GAIN, GAIN_NETWORK))
    client = simulate(fission)
    client.wait_for("Gain 3] gain 1")
    client.send_line("7")
    client.wait_for("Gain 3] gain 7")
    client.end_input()
    client.wait_for("InteractiveJob 1 finished", stream="stderr")
    assert "InteractiveJob 1 has ended" in fission.run("net", "send", "1", "--line", "too late", exit_code=2).stderr
    seen = len(rows(fission.root / "net/simulation/4/result.csv"))
    eventually(lambda: len(rows(fission.root / "net/simulation/4/result.csv")) > seen + 20, 10, "rows after the end of the console")
    done = stop(client, fission.root)
    gains = [line.split()[1] for line in printed(done.stdout, "Gain 3")]
    assert gains == sorted(gains)  # 7 is kept, and nothing is lost or repeated
    values = column(fission.root / "net/simulation/4/result.csv")
    assert values == list(range(1, len(values) + 1))


def test_a_console_does_not_keep_the_network_alive(fission: CommandLine) -> None:
    listed = GAIN_NETWORK.replace("Endless(", "Count(20, ")
    fission.project(network(GAIN, listed))
    client = simulate(fission)  # its standard input stays open
    done = finish(client, fission.root, 0)
    assert "net: finished" in done.stdout
    assert column(fission.root / "net/simulation/4/result.csv") == list(range(1, 21))


def test_send_reaches_a_console_that_reads_standard_input_too(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission)
    client.send_line("typed")
    client.wait_for("Show 2] got typed")
    fission.run("net", "send", "1", "--line", "sent", exit_code=0)
    client.wait_for("Show 2] got sent")
    stop(client, fission.root)


def test_two_consoles_leave_standard_input_alone(fission: CommandLine) -> None:
    fission.project(network("", TWO_CONSOLES))
    client = simulate(fission)
    client.send_line("for none")
    client.wait_for("fission net send 2", stream="stderr")
    fission.run("net", "send", "2", "--line", "for the second", exit_code=0)
    client.wait_for("Show 4] got for the second")
    done = stop(client, fission.root)
    assert "for none" not in done.stdout


def test_without_standard_input_send_works(fission: CommandLine) -> None:
    """As under a service manager or nohup: /dev/null is not a console, and its end does not end the network."""
    fission.project(network("", ONE_CONSOLE))
    script = (
        "import os, sys; os.dup2(os.open('/dev/null', os.O_RDONLY), 0); "
        "os.execv(sys.executable, [sys.executable, '-m', 'fission', 'net', 'simulate'])"
    )
    (fission.root / "start.py").write_text(script)
    client = start_python(fission, "start.py")
    client.wait_for("InteractiveJob 1 waits for lines", stream="stderr")
    fission.run("net", "send", "1", "--line", "hello", exit_code=0)
    client.wait_for("Show 2] got hello")
    stop(client, fission.root)


def start_python(fission: CommandLine, script: str) -> Running:
    """Start a client from a script of the project, in its own process group."""
    path = os.pathsep.join(filter(None, [str(Path(package.__path__[0]).parent), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in {**os.environ, **PLAIN, "PYTHONPATH": path}.items() if value is not None}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, script], cwd=fission.root, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    client = Running((script,), process, None)
    fission.commands.append(client)
    return client


# -- a terminal -------------------------------------------------------------------------------------------------------


def test_lines_typed_at_a_terminal(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission, terminal=True)
    client.wait_for("InteractiveJob 1 reads this terminal: type a line and press Enter; Ctrl-D ends it")
    client.send_line("one")
    client.wait_for(re.compile(r"\[Show 2\]\S* got one"))
    client.send("tw")
    client.send("\x7fwo\n")  # a typing mistake, taken back by the terminal
    client.wait_for(re.compile(r"\[Show 2\]\S* got two"))
    client.end_input()
    done = finish(client, fission.root, 0)
    assert "net: finished" in done.stdout


def test_ctrl_c_typed_at_a_terminal(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = simulate(fission, terminal=True)
    client.wait_for("reads this terminal")
    client.send_line("one")
    client.wait_for(re.compile(r"\[Show 2\]\S* got one"))
    client.send("half a line")
    end = Deadline(STOP_S)
    client.interrupt()
    done = finish(client, fission.root, 130)
    assert not end.over
    assert "Traceback" not in done.stdout
    assert "net: interrupted after" in done.stdout


def test_ctrl_d_at_a_terminal_ends_the_console_alone(fission: CommandLine) -> None:
    fission.project(network(GAIN, GAIN_NETWORK))
    client = simulate(fission, terminal=True)
    client.wait_for("gain 1")
    client.send_line("3")
    client.wait_for("gain 3")
    client.end_input()
    client.wait_for(re.compile(r"InteractiveJob 1\S* \S*finished"))
    client.wait_for("gain 3", count=len(re.findall("gain 3", client.stdout)) + 10)
    stop(client, fission.root)


# -- a desktop --------------------------------------------------------------------------------------------------------

#: A terminal emulator as a client sees it: a program that runs the words after -e, and whose window can be closed.
EMULATOR = """#!/bin/sh
echo "$@" >>"$WINDOWS/opened"
shift
mkfifo "$WINDOWS/keys.$$"
echo $$ >>"$WINDOWS/pids"
exec "$@" <"$WINDOWS/keys.$$"
"""


def desktop(fission: CommandLine) -> dict[str, str | None]:
    """A fake terminal emulator first on the PATH, and what a desktop session sets."""
    windows = fission.root / "windows"
    windows.mkdir()
    emulator = windows / "x-terminal-emulator"
    emulator.write_text(EMULATOR)
    emulator.chmod(0o755)
    return {"DISPLAY": ":99", "WAYLAND_DISPLAY": None, "WINDOWS": str(windows), "PATH": f"{windows}:{os.environ['PATH']}"}


def pids(fission: CommandLine) -> list[int]:
    file = fission.root / "windows/pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_a_desktop_opens_a_window_for_each_console(fission: CommandLine) -> None:
    fission.project(network("", TWO_CONSOLES))
    client = fission.start("net", "simulate", env=desktop(fission))
    eventually(lambda: len(pids(fission)) == 2, 10, "two windows")
    opened = sorted((fission.root / "windows/opened").read_text().splitlines())
    assert [re.sub(r"^-e \S+ -m ", "", line) for line in opened] == ["fission net send 1 --end", "fission net send 2 --end"]
    for pid in pids(fission):
        with open(fission.root / f"windows/keys.{pid}", "w") as keys:  # typed, and the window closed
            keys.write(f"typed into {pid}\n")
    done = finish(client, fission.root, 0)
    assert sorted(re.findall(r"got typed into (\d+)", done.stdout)) == sorted(str(pid) for pid in pids(fission))
    assert "net: finished" in done.stdout  # the windows' ends were the consoles' ends
    assert "in another terminal" not in done.stderr


def test_windows_are_closed_when_the_network_stops(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    client = fission.start("net", "simulate", env=desktop(fission))
    eventually(lambda: len(pids(fission)) == 1, 10, "a window")
    client.send_line("not from here")
    with open(fission.root / f"windows/keys.{pids(fission)[0]}", "w") as keys:
        print("from the window", file=keys, flush=True)
        client.wait_for("Show 2] got from the window")
        assert pids(fission)[0] in {child.pid for child in descendants(client.pid)}
        done = stop(client, fission.root)
    assert "not from here" not in done.stdout


def test_a_desktop_without_a_terminal_emulator_falls_back(fission: CommandLine) -> None:
    fission.project(network("", ONE_CONSOLE))
    env = desktop(fission) | {"PATH": str(fission.root / "nothing")}
    client = fission.start("net", "simulate", env=env)
    client.send_line("typed here")
    client.wait_for("Show 2] got typed here")
    stop(client, fission.root)
