"""Parts of config.py as in MARVELO's template and users' projects: empty texts, and pipes that are taken from PIPES."""

from __future__ import annotations

from pathlib import Path

import pytest

from fission.core.base import JOBS, NODES, PIPES, collecting
from fission.core.nodes import BaseNode
from fission.core.pipes import BytesPipe, PicklePipe
from tests.project.projects import HEAD, PAIR, faults, loaded
from tests.waiting import CommandLine

TEMPLATE = """\
USER = ""
REMOTE_ROOT = f"/home/{USER}/fission/"
LOG_LEVEL = "INFO"
LOG_FILE = "FISSION.log"
CLIENT_IP = ""
DEBUG_WINDOW = False
NODES = [
]
PRE_COPY = False
XML_FILE = None
PULSE_INTERVAL = 0.1
HEAD_SIZE = 1
"""


@pytest.mark.parametrize("simulation", [True, False])
def test_the_settings_of_the_old_template_are_accepted(tmp_path: Path, simulation: bool) -> None:
    config = loaded(tmp_path, HEAD + PAIR + TEMPLATE, simulation=simulation).config
    assert (config.user, config.remote_root, config.client_ip) == (None, None, None)


@pytest.mark.parametrize("name", ["USER", "CLIENT_IP", "XML_FILE"])
def test_an_empty_text_counts_as_not_set(tmp_path: Path, name: str) -> None:
    assert getattr(loaded(tmp_path, f"{HEAD}{PAIR}{name} = ''\n").config, name.lower()) is None


@pytest.mark.parametrize("setting", ["REMOTE_ROOT = '/home//fission/'", "USER = ' '", "CLIENT_IP = ' '", "LOG_FILE = ''", "CLUSTER = ''"])
def test_other_empty_parts_are_still_refused(tmp_path: Path, setting: str) -> None:
    (fault,) = faults(tmp_path, f"{HEAD}{PAIR}{setting}\n")
    assert setting.partition(" ")[0] in fault


def test_a_deleted_pipe_is_made_again(tmp_path: Path) -> None:
    with collecting() as registry:
        first = PicklePipe(9001)
        del PIPES[9001]
        assert 9001 not in PIPES
        second = BytesPipe(9001, 8)
        assert second is not first
        assert PIPES[9001] is second
        with pytest.raises(KeyError):
            del PIPES[1]
        node = BaseNode("192.168.4.9")
        assert NODES[node.ip] is node
        del NODES[node.ip]
        assert not NODES
        assert not JOBS
        assert registry.faults == []


def test_a_config_deletes_a_pipe(fission: CommandLine) -> None:
    config = """\
from fission.core.base import PIPES
from fission.core.jobs import PythonJob
from fission.core.pipes import JSONPipe, PicklePipe

class Count(PythonJob):
    def run(self):
        yield from range(3)

class Show(PythonJob):
    def run(self, value):
        print("got", value)

tried = PicklePipe(9001)
del PIPES[9001]
JOBS = [Count(outputs=[JSONPipe(9001)]), Show(inputs=[JSONPipe(9001)])]
"""
    fission.project({"net/config.py": TEMPLATE + config})
    done = fission.run("net", "simulate").expect(0)
    assert [line for line in done.stdout.splitlines() if "got" in line] == [f"[Show 2] got {number}" for number in range(3)]
