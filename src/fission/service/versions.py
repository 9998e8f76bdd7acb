"""What must be the same on the client and on every node."""

from __future__ import annotations

import platform
from importlib import metadata

import fission


def versions() -> dict[str, str]:
    """Versions by the names that messages use; only the first two numbers of Python's count."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "fission": fission.__version__,
        "Dask": metadata.version("distributed"),
    }
