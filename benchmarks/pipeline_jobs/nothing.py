"""Workers and a store that do nothing, so that only the cost of pipelines remains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fission.pipelines import Worker

__all__ = ["First", "Second", "Third"]


class First(Worker):
    """Does nothing."""

    def process(self, data: Any) -> None:
        return None


class Second(First):
    """Does nothing."""


class Third(First):
    """Does nothing."""


class NoStore:
    """Keeps nothing."""

    def __init__(self, **arguments: Any) -> None:
        pass

    def retrieve(self, info: Mapping[str, Any]) -> None:
        return None

    def save(self, info: Mapping[str, Any]) -> None:
        pass

    def save_monitoring(self, data: Mapping[str, Any]) -> None:
        pass
