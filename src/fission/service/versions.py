"""Versions that must fit on the client and on every node: see `fission.protocol.version_rule`; of Python and Dask, the same."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from importlib import metadata

import fission
from fission.protocol.version_rule import work_together


def versions() -> dict[str, str]:
    """Return the versions by their names in messages; of Python's, only the first two numbers."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "fission": fission.__version__,
        "Dask": metadata.version("distributed"),
    }


def difference(there: Mapping[str, str], here: Mapping[str, str], node: str) -> str:
    """Return how a client's versions differ from its node's, with the command that fixes it; empty: they fit.

    Args:
        there: versions of the client.
        here: versions of the node.
        node: name of the node.
    """
    wrong = [what for what, version in here.items() if not _fit(what, there.get(what, ""), version)]
    if not wrong:
        return ""
    texts = [f"{what} is {there.get(what, 'missing')} on the client and {here[what]} on the node" for what in wrong]
    first = f"give it Python {there['Python']} (fission_python in setting.yml), then " if "Python" in wrong and "Python" in there else ""
    return (
        f"the versions differ: {', '.join(texts)}; {first}install the client's on it: fission provision renew --limit {shlex.quote(node)}"
    )


def _fit(what: str, there: str, here: str) -> bool:
    return work_together(there, here) if what == "fission" else there == here
