"""Access of a new incarnation to the stored snapshots of its job.

On the client's machine, a job reads the client's own file. On any other machine, it requests the
snapshot that it needs, and the client's engine transfers it in pieces, as a file that appears when
it is complete. The stored snapshots may therefore fill a disk, but only the required one travels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fission.durable import DamagedFileError, read_snapshot
from fission.errors import SnapshotError
from fission.ports import JobBundle
from fission.protocol.messages.job_to_client import JobToClient, SnapshotNeeded

#: Seconds between two checks for a snapshot in transit, and seconds without progress after which it is requested again. Arbitrary.
LOOK_S, AGAIN_S = 0.02, 5.0
#: Suffixes of file names: an incomplete snapshot, and the reason why a snapshot will not arrive.
PART, LOST = ".part", ".lost"


def reader(bundle: JobBundle, say: Callable[[JobToClient, bytes], None]) -> Callable[[int, int], bytes]:
    """Return the function that returns the state of a snapshot, by generation and block.

    The function raises SnapshotError if there is no such snapshot.
    """

    def read(generation: int, block: int) -> bytes:
        path = Path(bundle.snapshot_folder, f"{generation}.{block}")
        try:
            if not bundle.snapshots_far:
                return read_snapshot(path, (generation, block))
            _wait(path, lambda: say(SnapshotNeeded(generation=generation, block=block), b""))
            state = path.read_bytes()
            path.unlink()
        except (DamagedFileError, OSError) as why:
            raise SnapshotError(str(why)) from why
        return state

    return read


def _wait(path: Path, ask: Callable[[], None]) -> None:
    """Wait until a file exists; request it again if it does not grow.

    Raises:
        SnapshotError: the file will not arrive.
    """
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
