"""What the tests of wildlife share."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

NETWORK = Path(__file__).resolve().parent.parent
if str(NETWORK.parent) not in sys.path:  # networks import each other from the project's folder
    sys.path.insert(0, str(NETWORK.parent))

from fission.core.base import reset  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_registry():
    """Each test makes its own jobs and pipes."""
    reset()
    yield
    reset()


@pytest.fixture
def load_config(tmp_path):
    """Runs the network's config.py as if it were in the test's folder, with other values for some of its settings; returns its names."""

    def load(**settings):
        text = (NETWORK / "config.py").read_text("utf-8")
        for name, value in settings.items():
            text, found = re.subn(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value!r}": line, text)
            assert found == 1, f"{name} is not set once in config.py"
        names = {"__file__": str(tmp_path / "config.py"), "__name__": "wildlife.config"}
        reset()  # the jobs of each loading are numbered from 1
        exec(compile(text, names["__file__"], "exec"), names)
        for job in names["JOBS"]:
            job.SYNC = False  # no test cuts the power, and each of many blocks would wait for the disk
        return names

    return load
