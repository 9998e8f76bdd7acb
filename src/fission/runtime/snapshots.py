"""The stored snapshots of a job, for a new incarnation of it: read where they are when they are needed, or asked for.

On the client's machine a job reads the client's own file. On any other one it asks for the one that it needs, and the client's engine
brings it in pieces, as a file that appears when it is whole. So what was stored may be as large as a disk, and none but the needed one
travels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fission.durable import DamagedFileError, read_record
from fission.errors import SnapshotError
from fission.ports import JobBundle
from fission.protocol.messages.job_to_client import JobToClient, SnapshotNeeded

#: Seconds between two looks for what is on its way, and after which it is asked for again if nothing more has come. Arbitrary.
LOOK_S, AGAIN_S = 0.02, 5.0
#: Ends of the names of files: what has not come whole yet, and why it will not come.
PART, LOST = ".part", ".lost"


def reader(bundle: JobBundle, say: Callable[[JobToClient, bytes], None]) -> Callable[[int, int], bytes]:
    """Return what gives the state of a snapshot, by generation and block; it raises SnapshotError if there is none."""

    def read(generation: int, block: int) -> bytes:
        path = Path(bundle.snapshot_folder, f"{generation}.{block}")
        try:
            if not bundle.snapshots_far:
                return read_record(path)
            _wait(path, lambda: say(SnapshotNeeded(generation=generation, block=block), b""))
            state = path.read_bytes()
            path.unlink()
        except (DamagedFileError, OSError) as why:
            raise SnapshotError(str(why)) from why
        return state

    return read


def _wait(path: Path, ask: Callable[[], None]) -> None:
    """Wait until a file is there, asking for it again if it does not grow. Raises SnapshotError: it will not come."""
    part, lost = path.with_name(path.name + PART), path.with_name(path.name + LOST)
    size, again_at = -1, 0.0
    while not path.exists():
        if lost.exists():
            raise SnapshotError(lost.read_text(encoding="utf-8", errors="replace"))
        found = part.stat().st_size if part.exists() else 0
        if found != size and size >= 0:
            again_at = time.monotonic() + AGAIN_S
        size = found
        if time.monotonic() >= again_at:
            ask()
            again_at = time.monotonic() + AGAIN_S
        time.sleep(LOOK_S)
