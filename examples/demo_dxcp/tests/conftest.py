"""What the tests of demo_dxcp share."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

NETWORK = Path(__file__).resolve().parent.parent
for folder in (str(NETWORK.parent), str(NETWORK / "tests")):
    if folder not in sys.path:  # networks import each other from the project's folder; the tests import offline.py
        sys.path.insert(0, folder)

from fission.core.base import reset  # noqa: E402

from demo_dxcp import scene  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_registry():
    """Each test makes its own jobs and pipes."""
    reset()
    yield
    reset()


@pytest.fixture(scope="session")
def recorded():
    """A scene of half a minute, at the edge of what must be precise to 1 ppm, and its recordings."""
    made = scene.Scene(30.0, -200.0, 30.0)
    return made, *scene.record(made)


@pytest.fixture
def load_config(tmp_path):
    """Runs the network's config.py as if it were in the test's folder, with other values for some of its settings; returns its names."""

    def load(**settings):
        text = (NETWORK / "config.py").read_text("utf-8")
        for name, value in settings.items():
            text, found = re.subn(rf"(?m)^{name} = [^#\n]*", lambda _, line=f"{name} = {value!r} ": line, text)
            assert found == 1, f"{name} is not set once in config.py"
        names = {"__file__": str(tmp_path / "config.py"), "__name__": "demo_dxcp.config"}
        reset()  # the jobs of each loading are numbered from 1
        exec(compile(text, names["__file__"], "exec"), names)
        return names

    return load
