"""The groups that a node announces by itself: found out in another process, for each client anew, and never waited for for long."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fission.adapters.cluster.members import Identity
from fission.cli.commands.node import command
from fission.core.groups import HAS_LOUDSPEAKER, HAS_MIC
from fission.errors import UserError
from fission.ports import NodeName
from fission.service import announced_groups
from fission.service.announced_groups import AnnouncedGroups, probe

FAKE = """
import os, pathlib
pathlib.Path({pid!r}).write_text(str(os.getpid()))
class PortAudioError(Exception):
    pass
def query_devices(number):
    devices = found()
    if number >= len(devices):
        raise PortAudioError
    return devices[number] or b"K\\xc3".decode()
def found():
    {answer}
"""


@pytest.mark.parametrize(
    ("answer", "groups"),
    [
        ("return [dict(max_input_channels=2, max_output_channels=0)]", (HAS_MIC,)),
        ("return [dict(max_input_channels=0, max_output_channels=2)]", (HAS_LOUDSPEAKER,)),
        (
            "return [dict(max_input_channels=0, max_output_channels=2), dict(max_input_channels=1, max_output_channels=0)]",
            (HAS_MIC, HAS_LOUDSPEAKER),
        ),
        ("return []", ()),
        ("return [None, dict(max_input_channels=1, max_output_channels=0)]", (HAS_MIC,)),
        ("os.write(1, b'no JSON'); return []", ()),
        ("raise OSError('PortAudio library not found')", ()),
        ("os.kill(os.getpid(), 9)", ()),
    ],
)
def test_a_process_of_its_own_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, groups: tuple[str, ...]) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "sounddevice.py").write_text(FAKE.format(pid=str(pid), answer=answer), encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = "sounddevice" in sys.modules
    assert asyncio.run(probe()) == groups
    assert int(pid.read_text()) != os.getpid()
    assert ("sounddevice" in sys.modules) == loaded


def test_without_the_extra_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announced_groups.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    assert asyncio.run(probe()) == ()


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sounddevice.py").write_text("import time\ntime.sleep(1000)", encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(announced_groups, "LIMIT_S", 0.3)
    assert asyncio.run(probe()) == ()


class Machine:
    """Stands for the machine: it has the groups, and says how often it was asked."""

    def __init__(self, *groups: str) -> None:
        self.groups, self.asked, self.now = groups, 0, 100.0
        self.answers = asyncio.Event()

    async def find(self) -> tuple[str, ...]:
        self.asked += 1
        await self.answers.wait()
        return self.groups


def test_an_answer_is_found_out_for_each_client_but_not_while_jobs_run() -> None:
    async def happens() -> None:
        machine = Machine()
        announced = AnnouncedGroups(None, machine.find, lambda: machine.now)
        announced.begin()
        machine.answers.set()
        assert await announced.current() == ()
        assert machine.asked == 1, "the start of the service has asked already"
        machine.groups = (HAS_MIC,)
        assert await announced.current() == ()
        machine.now += announced_groups.VALID_S
        assert await announced.current(fresh=False) == ()
        assert (await announced.current(), machine.asked) == ((HAS_MIC,), 2)
        await announced.close()

    asyncio.run(happens())


def test_a_client_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announced_groups, "WAIT_S", 0.01)

    async def happens() -> None:
        machine = Machine(HAS_MIC)
        announced = AnnouncedGroups(None, machine.find, lambda: machine.now)
        assert await announced.current() == ()
        machine.answers.set()
        assert await announced.current() == (HAS_MIC,)
        await announced.close()

    asyncio.run(happens())


def test_fixed_groups_are_announced_without_a_look() -> None:
    async def happens() -> None:
        machine = Machine()
        announced = AnnouncedGroups((HAS_MIC,), machine.find)
        announced.begin()
        assert (await announced.current(), machine.asked) == ((HAS_MIC,), 0)
        await announced.close()

    asyncio.run(happens())


def test_announced_groups_come_after_those_of_nodes() -> None:
    identity = Identity(NodeName("pi"), ("KITCHEN", HAS_MIC), None)
    assert identity.in_groups((HAS_MIC, HAS_LOUDSPEAKER)).groups == ("KITCHEN", HAS_MIC, HAS_LOUDSPEAKER)


def test_other_groups_cannot_be_announced() -> None:
    words = ["--client", "127.0.0.1", "--announce", "HAS_MIC,HAS_PUMP"]
    with pytest.raises(
        UserError, match="--announce must be auto, none, or some of HAS_MIC, HAS_LOUDSPEAKER with commas, but has 'HAS_PUMP'"
    ):
        command.main(words, standalone_mode=False)
