"""What must be the same on the client and on every node."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

import fission


def versions() -> dict[str, str]:
    """Versions by the names that messages use; only the first two numbers of Python's count."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "fission": fission.__version__,
        "Dask": metadata.version("distributed"),
    }


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """What differs between the versions of a node and of its client, with what to do about it; empty: nothing."""
    texts = [
        f"{what} is {there.get(what, 'missing')} there and {version} here" for what, version in here.items() if there.get(what) != version
    ]
    return f"the versions differ: {', '.join(texts)}; install the same on both" if texts else ""
