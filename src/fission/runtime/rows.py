"""Where a sink that writes a file goes on.

Such a job has `blocks_written`, the compute blocks that its file holds. They are not the numbers of the blocks: numbers begin again
with each generation, and those of compute blocks that were left out are missing. So a small file beside it notes each place at which the
numbers do not go on by one: that there the file had so many blocks, and what the next one's number was. It is noted before the block
is written, so that a process that dies at any moment leaves a file and a note that fit: the last note says the number of every block
behind its place.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

#: The number of no block, but a number that can be counted on from.
BEYOND = 1 << 48
#: In the job's own folder; one JSON object a line.
NOTES_FILE = ".fission-rows.jsonl"
#: What holds before anything was noted.
_FIRST = {"generation": 0, "rows": 0, "number": 1}
#: Notes of one life after which only the last one is kept; arbitrary, 50 KB.
_MOST_NOTES = 1000


def start(job: Any) -> None:
    """A life of the job starts: what its file holds before any life of it has noted something is from elsewhere, an earlier run say."""
    written = _written(job)
    if written is not None and not os.path.exists(NOTES_FILE):
        _append({"generation": 0, "rows": written, "number": 1})


def first_number(job: Any, generation: int) -> int:
    """Return the compute block behind what the job's file holds of this generation; 1 for a job without such a file.

    A generation older than the newest that the file has is over: its number is `BEYOND` every block.
    """
    written = _written(job)
    if written is None:
        return 1
    last = _last_note()[0]
    if generation != last["generation"]:
        return BEYOND if generation < last["generation"] else 1
    return written - last["rows"] + last["number"]


def note(job: Any, generation: int, number: int) -> None:
    """The next block that the job writes is compute block ``number`` of this generation; nothing for a job without such a file."""
    written = _written(job)
    if written is None or number >= BEYOND:
        return
    last, notes = _last_note()
    if generation == last["generation"] and number == written - last["rows"] + last["number"]:
        return
    if notes >= _MOST_NOTES:
        fresh = Path(NOTES_FILE).with_suffix(".new")
        fresh.write_text(json.dumps(last) + "\n")
        os.replace(fresh, NOTES_FILE)
    _append({"generation": generation, "rows": written, "number": number})


def _append(one: dict[str, int]) -> None:
    with open(NOTES_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(one) + "\n")  # one write of a short line: whole or not at all, whatever happens to this process


def _written(job: Any) -> int | None:
    written = getattr(job, "blocks_written", None)
    return written if isinstance(written, int) else None


def _last_note() -> tuple[dict[str, int], int]:
    """The last note, and how many there are."""
    try:
        lines = Path(NOTES_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return _FIRST, 0
    return json.loads(lines[-1]) if lines else _FIRST, len(lines)
