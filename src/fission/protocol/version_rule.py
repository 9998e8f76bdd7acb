"""Which versions of FISSION work together: on the client, on its nodes, and in what they have stored.

Versions whose first two numbers agree have the same messages, frames and files: 1.2.0 and 1.2.7 do,
1.2.0 and 1.3.0 do not. ``python -m scripts.wire_contract`` watches over that.
"""

from __future__ import annotations

import re

#: A release. Anything else (1.3.0.dev2, 1.3.0rc1) promises nothing about others.
_RELEASE = re.compile(r"(?P<line>[0-9]+\.[0-9]+)\.[0-9]+")


def release_line(version: str) -> str:
    """Return the first two numbers of a release, "1.2" for "1.2.7"; empty for other versions."""
    match = _RELEASE.fullmatch(version)
    return match["line"] if match is not None else ""


def work_together(one: str, other: str) -> bool:
    """Return whether two versions of FISSION may be those of a client and a node of it."""
    return one == other or release_line(one) == release_line(other) != ""
