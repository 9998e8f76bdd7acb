"""Watches over the contract that versions of FISSION with the same first two numbers work together.

    .venv/bin/python -m scripts.wire_contract            records the present messages and frames in src/fission/wire_contract.json
    .venv/bin/python -m scripts.wire_contract --check    exits with 1 if they are not the recorded ones

What travels between machines, and what one version stores for another, must be the same in 1.2.0 and 1.2.7. So a change of it is only
recorded together with a new minor version, or while the first version of a line (1.2.0) is not released yet: CHANGELOG.md lists it as
"[Unreleased]". A change of order or wording changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

import fission
from fission.ports.bundle import JobBundle, Place, Wiring
from fission.protocol.messages.codec import Codec
from fission.protocol.messages.directions import DIRECTIONS, codecs_of
from fission.protocol.version_rule import release_line

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "src" / "fission" / "wire_contract.json"
CHANGELOG = ROOT / "CHANGELOG.md"
#: Both ends belong to the same installation.
LOCAL = ("viewer_to_client", "client_to_viewer", "run_events", "client_to_fork_server", "fork_server_to_client")
#: Modules whose constants say how blocks travel, and files are written that another version reads.
FORMATS = (
    "fission.protocol.frames",
    "fission.protocol.joined",
    "fission.protocol.packed",
    "fission.protocol.pieces",
    "fission.protocol.large_blocks",
    "fission.durable.snapshot_files",
    "fission.durable.records",
)
#: What a client pickles for a node.
PICKLED = (JobBundle, Wiring, Place)


def contract() -> dict[str, Any]:
    """Return all that must not change within a line of releases."""
    found: dict[str, Any] = {}
    for direction in DIRECTIONS:
        if direction.rpartition(".")[2] not in LOCAL:
            found |= {f"{direction}: {codec.name}": messages_of(codec) for codec in codecs_of(direction)}
    found |= {module: constants_of(vars(import_module(module))) for module in FORMATS}
    for kind in PICKLED:
        found[f"{kind.__module__}.{kind.__qualname__}"] = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return found


def messages_of(codec: Codec[Any]) -> dict[str, Any]:
    """Return the schema of the messages of a direction, without what is only said about it."""
    _, parts = msgspec.json.schema_components(codec.types)
    return {"discriminator": codec.discriminator, "max_bytes": codec.max_bytes, "messages": _bare(parts)}


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        # a member may have the name of a keyword, but then its value is a schema
        return {key: _bare(inner) for key, inner in value.items() if key not in ("description", "title") or not isinstance(inner, str)}
    return [_bare(inner) for inner in value] if isinstance(value, list | tuple) else value


def constants_of(module: dict[str, Any]) -> dict[str, Any]:
    """Return the constants of a module: numbers, bytes and layouts."""
    found = {}
    for name, value in sorted(module.items()):
        if name.isupper() and isinstance(value, struct.Struct):
            found[name] = value.format
        elif name.isupper() and isinstance(value, int | str | bytes) and not isinstance(value, bool):
            found[name] = str(value)
    return found


def fingerprint(of: dict[str, Any]) -> str:
    """Return the fingerprint of a contract."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()


def fault(recorded: dict[str, str], version: str, now: str, changelog: str) -> str:
    """Return why the present contract cannot be recorded; empty: it can, or is recorded already.

    Args:
        recorded: what `RECORD` has.
        version: present version of FISSION.
        now: present fingerprint.
        changelog: text of CHANGELOG.md.
    """
    line = release_line(version)
    if (
        recorded["fingerprint"] == now
        or recorded["line"] != line
        or re.search(rf"^## \[Unreleased\]: {re.escape(line)}\.0$", changelog, re.M)
    ):
        return ""
    major, minor = line.split(".")
    return (
        f"the messages or frames have changed since {line}.0, so versions {line}.x would no longer work together: the version must be "
        f"{major}.{int(minor) + 1}.0 (src/fission/__init__.py), but is {version}"
    )


def main(arguments: list[str]) -> int:
    """Record the contract, or check it; return the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    recorded, now = json.loads(RECORD.read_text()), {"line": release_line(fission.__version__), "fingerprint": fingerprint(contract())}
    if arguments:
        return 0 if recorded == now else 1
    if why := fault(recorded, fission.__version__, now["fingerprint"], CHANGELOG.read_text(encoding="utf-8")):
        sys.stderr.write(f"Error: {why}\n")
        return 1
    RECORD.write_text(json.dumps(now, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
