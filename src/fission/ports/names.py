"""Types that all interfaces use."""

from __future__ import annotations

from typing import NewType, TypeAlias

NodeName = NewType("NodeName", str)
JobId: TypeAlias = int
PipeId: TypeAlias = int
Seconds: TypeAlias = float
