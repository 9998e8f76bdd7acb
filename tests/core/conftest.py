"""Every test of core begins with a registry of its own."""

from __future__ import annotations

import pytest

from fission.core.base import reset


@pytest.fixture(autouse=True)
def _fresh_registry() -> None:
    reset()
