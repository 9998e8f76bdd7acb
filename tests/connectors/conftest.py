"""Each test of connectors begins with its own registry, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fission.core.base import reset


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    reset()
    monkeypatch.chdir(tmp_path)
    return tmp_path
