"""Each test of core begins with its own registry."""

from __future__ import annotations

import pytest

from fission.core.base import reset


@pytest.fixture(autouse=True)
def _fresh_registry() -> None:
    reset()
