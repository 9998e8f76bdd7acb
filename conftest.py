"""The rules of the house for all tests, those of the examples too: nothing skipped in CI, nothing left behind."""

from __future__ import annotations

pytest_plugins = ["tests.hygiene"]
