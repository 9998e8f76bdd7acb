"""Users' attributes and FISSION's: whatever names a job uses for its own, it runs; a job's given name is used everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from fission.core.jobs import (
    BytesSinkJob,
    ClockJob,
    CSVSinkJob,
    DynamicExecutableJob,
    ExecutableJob,
    ForwardingJob,
    InteractiveJob,
    LoggingJob,
    LoggingSinkJob,
    NpySinkJob,
    PythonJob,
    WavSinkJob,
)
from fission.core.network import Network
from fission.core.pipes import PicklePipe
from fission.core.registry import current, reset
from fission.errors import DefinitionError
from tests.waiting import CommandLine

#: What is FISSION's own in a job, as docs/jobs.md lists it: pipes, heads, and the methods that users write or call.
RESERVED = {
    *("inputs", "outputs", "head", "in_heads", "out_heads", "finished"),
    *("run", "setup", "teardown", "finish", "head_reduce", "snapshot", "restore", "preference"),
}
WORDS = """
name id label title path file files writer reader stream socket sock port host ip address addr node nodes pipe pipes job jobs network
config settings options args kwargs params parameters param state status counter count number index position block block_number
generation size rate fs channels dtype device mic microphone speaker gain threshold window hop buffer buf queue data value values start
stop step delay interval period clock time timeout last first previous current next result results output input source sink connector
destination groups group priority restarts checkpoint dependencies executable command process proc p pid thread lock event logger log
logging debug verbose model weights matrix w x y z n i k seed rng random level mode kind type version key keys user client server
connection db session cache history total mean max min sum is_source is_sink is_connector is_async created_at definition_faults console
stdin stdout stderr peers parent children owner registry environment env folder directory root run_job emulator names display alive
ready running done closed open close send receive put get read write
""".split()


@pytest.fixture(autouse=True)
def fresh() -> None:
    reset()


def _own_words(kind: type) -> list[str]:
    """All that our classes and a made job have, without what is only ours by its first letters."""
    made = kind(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])
    return [word for word in {*dir(kind), *vars(made)} if not word.startswith(("__", "_fission_", "_abc_")) and not word.isupper()]


class Plain(PythonJob):
    def run(self, value: Any) -> Any:
        return value + 1


NAMES = sorted({*WORDS, *_own_words(Plain)} - RESERVED)


def _network() -> Network:
    return Network.from_registry("net", current())


@pytest.mark.parametrize("word", NAMES)
def test_any_attribute(word: str) -> None:
    class Own(PythonJob):
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            setattr(self, word, "mine")

        def run(self, value: Any) -> Any:
            return value, getattr(self, word)

    class Sink(PythonJob):
        def run(self, value: Any) -> None:
            pass

    class Source(PythonJob):
        def run(self) -> Any:
            return 1

    reset()
    Source(outputs=[PicklePipe(1)])
    own = Own(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)])
    Sink(inputs=[PicklePipe(2)])
    Sink(inputs=[PicklePipe(3)])
    assert _network().check() == []
    assert (str(own), own._fission_id, own.snapshot()) == ("Own 2", 2, {word: "mine"})


@pytest.mark.parametrize("when", ["before", "class"])
@pytest.mark.parametrize("word", NAMES)
def test_any_attribute_of_the_class_or_before_ours(word: str, when: str) -> None:
    def init(self: Any, **more: Any) -> None:
        if when == "before":
            setattr(self, word, "mine")
        PythonJob.__init__(self, **more)

    body = {"__init__": init, "run": lambda self, value: None} | ({word: "mine"} if when == "class" else {})
    kind = type("Own", (PythonJob,), body)
    job = kind(inputs=[PicklePipe(1)])
    type("Source", (PythonJob,), {"run": lambda self: 1})(outputs=[PicklePipe(1)])
    assert _network().check() == []
    assert (getattr(job, word), str(job)) == ("mine", "Own 1")


PROJECT = """
from fission.core.jobs import ExecutableJob, PythonJob
from fission.core.pipes import PicklePipe

WORDS = {words!r}


class Source(PythonJob):
    def run(self):
        yield 4


class Crowded(PythonJob):
    def __init__(self, **more):
        super().__init__(**more)
        for word in WORDS:
            setattr(self, word, word)

    def run(self, value):
        return value, [word for word in WORDS if getattr(self, word) != word]


class Copy(ExecutableJob):
    EXECUTABLE = "/bin/sh -c 'cat <\\"$2\\" >\\"$4\\"' sh"

    def __init__(self, **more):
        super().__init__(**more)
        self.command = ["mine"]


class Show(PythonJob):
    def run(self, *values):
        print("SHOWN", *values)
"""
CONFIG = """
from net.jobs import *

JOBS = [
    Source(outputs=[PicklePipe(1)]),
    Crowded(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
    Copy(inputs=[PicklePipe(2)], outputs=[PicklePipe(4)], name="Copying machine"),
    Show(inputs=[PicklePipe(4), PicklePipe(3)], name="Screen"),
]
"""


def test_such_jobs_run_under_their_names(fission: CommandLine) -> None:
    fission.project({"net/__init__.py": "", "net/jobs.py": PROJECT.replace("{words!r}", repr(NAMES)), "net/config.py": CONFIG})
    done = fission.run("net", "simulate", exit_code=0)
    shown = [line for line in (done.stdout + done.stderr).splitlines() if "SHOWN 4 []" in line]
    assert len(shown) == 1
    assert "Screen" in shown[0]


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("value", [5, "mic", [1, 2], None])
def test_pipes_are_reserved(side: str, value: Any) -> None:
    class Wrong(Plain):
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            setattr(self, side, value)

    with pytest.raises(DefinitionError, match=f"Wrong 1: {side} must be the job's pipes, but is"):
        Wrong(inputs=[PicklePipe(1)])


# -- the argument name


class Quiet(PythonJob):
    """Neither takes nor hands on a name."""

    def __init__(self, inputs: Any = None, outputs: Any = None) -> None:
        super().__init__(inputs, outputs)

    def run(self, *values: Any) -> Any:
        return None


class Open(PythonJob):
    def __init__(self, offset: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def run(self, *values: Any) -> Any:
        return None


class Mic(PythonJob):
    """A user's class with its own name."""

    def __init__(self, name: str = "mic", **more: Any) -> None:
        super().__init__(**more)
        self.name = name

    def run(self) -> Any:
        return self.name


class Handing(PythonJob):
    def __init__(self, name: str = "handed", **more: Any) -> None:
        super().__init__(name=name, **more)

    def run(self, *values: Any) -> Any:
        return None


NAMED: list[Any] = [
    lambda: Quiet(name="Beamformer"),
    lambda: Open(3, name="Beamformer"),
    lambda: Plain(name="Beamformer"),
    lambda: Handing("Beamformer"),
    lambda: Handing(name="Beamformer"),
    lambda: ClockJob(name="Beamformer"),
    lambda: ForwardingJob(name="Beamformer"),
    lambda: InteractiveJob(name="Beamformer"),
    lambda: CSVSinkJob("x", name="Beamformer"),
    lambda: BytesSinkJob("x", name="Beamformer"),
    lambda: NpySinkJob("x", name="Beamformer"),
    lambda: WavSinkJob("x", 8000, name="Beamformer"),
    lambda: LoggingSinkJob("x", name="Beamformer"),
    lambda: LoggingJob(name="Beamformer"),
    lambda: LoggingJob([], [PicklePipe(1)], None, "Beamformer"),
    lambda: ExecutableJob(name="Beamformer"),
    lambda: DynamicExecutableJob(executable="ls", name="Beamformer"),
]


@pytest.mark.parametrize("make", NAMED)
def test_every_job_takes_a_name(make: Any) -> None:
    job = make()
    assert (str(job), repr(job), job.name, job._fission_name) == ("Beamformer",) * 4


def test_a_name_of_the_users_own_stays_theirs() -> None:
    first, second = Mic("left"), Mic(name="left")
    assert (first.name, second.name, str(first), str(second)) == ("left", "left", "Mic 1", "Mic 2")
    assert _network().check() == []


@pytest.mark.parametrize("name", ["", " ", 5, "7", "a\nb", ["x"]])
def test_invalid_names_are_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="Quiet 1: name must be a line of text"):
        Quiet(name=name)


def test_names_are_unique() -> None:
    Quiet(name="a")
    Quiet(name="a")
    Quiet(name="Quiet 4")
    Quiet()
    texts = [fault.text for fault in _network().check() if "called" in fault.text]
    assert [text.split(":")[0] for text in texts] == ["two jobs are called a", "two jobs are called Quiet 4"]


def test_messages_use_the_name() -> None:
    Quiet(inputs=[PicklePipe(1)], name="Beamformer")
    texts = [fault.text for fault in _network().check()]
    assert any("pipe 1 has no source: Beamformer (" in text for text in texts), texts
