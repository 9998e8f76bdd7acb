"""Versions that must be the same on the client and on every node."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

import fission


def versions() -> dict[str, str]:
    """Return the versions by their names in messages; of Python's, only the first two numbers."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "fission": fission.__version__,
        "Dask": metadata.version("distributed"),
    }


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return how a node's versions differ from its client's, with advice; empty: they agree."""
    texts = [
        f"{what} is {there.get(what, 'missing')} there and {version} here" for what, version in here.items() if there.get(what) != version
    ]
    return f"the versions differ: {', '.join(texts)}; install the same on both" if texts else ""
