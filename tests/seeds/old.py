"""Projects as startproject and startnetwork of the old MARVELO made them, filled in by a user, and functions that run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import DEADLINE_S

#: What the old manage.py does: the first word is the network, and the environment names its config.
MANAGE = """\
#!/usr/bin/env python3
import os
import sys


def main():
    os.environ.setdefault("FISSION_CONFIG_MODULE", sys.argv[1] + ".config")
    from fission.manager import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
"""
#: S1 literally: it does not mention the config.
SHORT_MANAGE = "import sys\nfrom fission.manager import execute_from_command_line\nexecute_from_command_line(sys.argv)\n"
CONFIG = """\
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from net.jobs.jobs import Tone
from net.pipes.pipes import Pairs
from shared.jobs.jobs import Scale

USER = ""
REMOTE_ROOT = f"/home/{USER}/fission/"
LOG_LEVEL = "INFO"
LOG_FILE = "FISSION.log"
CLIENT_IP = ""
DEBUG_WINDOW = False
JOBS = [
    Tone(outputs=[PicklePipe(1)]),
    Scale(inputs=[PicklePipe(1)], outputs=[Pairs(2)]),
    CSVSinkJob(path="tone.csv", inputs=[Pairs(2)]),
]
NODES = []
PRE_COPY = False
XML_FILE = None
PULSE_INTERVAL = 0.1
HEAD_SIZE = 1
"""
ROWS = "0,10\n20,30\n"
TREE = {
    "manage.py": MANAGE,
    **{f"{package}/{part}/__init__.py": "" for package in ("net", "shared") for part in ("jobs", "nodes", "pipes")},
    **{f"{package}/{part}/{part}.py": "" for package in ("net", "shared") for part in ("jobs", "nodes", "pipes")},
    "net/__init__.py": "",
    "shared/__init__.py": "",
    "shared/source/.keep": "",
    "net/source/.keep": "",
    "net/config.py": CONFIG,
    "net/jobs/jobs.py": """\
from fission.core.jobs import PythonJob

class Tone(PythonJob):
    NUMBER = 4
    def run(self):
        yield from range(self.NUMBER)
""",
    "net/pipes/pipes.py": "from fission.core.pipes import PicklePipe\n\nclass Pairs(PicklePipe):\n    BLOCK_COUNT = 2\n",
    "shared/jobs/jobs.py": """\
from fission.core.jobs import PythonJob

class Scale(PythonJob):
    factor = 10
    def run(self, value):
        return value * self.factor
""",
}


def old_project(root: Path, files: Mapping[str, str] | None = None) -> Path:
    """Make a project of the old startproject in *root* with the network ``net``; *files* are added or replace others."""
    for name, text in {**TREE, **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def table(path: Path) -> str:
    """Return the rows of the network's CSV file: a line for each pair of numbers."""
    return path.read_text().translate(str.maketrans("", "", '[]" \r'))


def python(root: Path, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python3 WORDS...`` in the project, or in another current folder."""
    environment = {name: value for name, value in os.environ.items() if name != "FISSION_CONFIG_MODULE"}
    environment.update(env or {}, NO_COLOR="1")
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd or root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
