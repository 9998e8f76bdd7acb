"""Where a sink that writes a file goes on.

Such a job has `blocks_written`, the compute blocks that its file holds. Numbers begin again with each generation, rows do not, so
a small file beside it says how many rows there were when the generation began.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

#: The number of no block, but a number that can be counted on from.
BEYOND = 1 << 48
#: In the job's own folder.
GENERATION_FILE = ".fission-generation.json"


def first_number(job: Any, generation: int) -> int:
    """Return the compute block behind what the job's file holds of this generation; 1 for a job without such a file.

    A generation older than the newest that the file has is over: its number is `BEYOND` every block.
    """
    written = getattr(job, "blocks_written", None)
    if not isinstance(written, int):
        return 1
    file = Path(GENERATION_FILE)
    began = {"generation": 0, "rows": 0}
    if file.exists():
        began = json.loads(file.read_text())
    if generation < began["generation"]:
        return BEYOND
    if generation > began["generation"]:
        began = {"generation": generation, "rows": written}
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(began))
        os.replace(fresh, file)  # whole or not at all: this process may be killed at any moment
    return written - int(began["rows"]) + 1
