"""The delay that FISSION adds between a microphone and a job: at most 2 ms for half of the blocks of 10 ms.

A sound server of its own hears a counter. The job that records notes when PortAudio calls it with a block's last frame; the next job, in
another process, notes when `run` gets the block. Apart from that, the table has the time that the sound server and PortAudio take until
that call, from when the last frame was heard.

    python -m benchmarks.microphone_delay [--runs 3] [--blocks 1000] [--json FILE]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.chain import PROJECT, arguments, show, surroundings
from tests.sound_server import SoundServer

RATE, BLOCK = 16_000, 160
#: The longest delay in ms that half of the blocks may have.
WANTED = 2.0


def measured(blocks: int) -> list[tuple[float, float]]:
    """Return, for each block, the seconds until PortAudio's call, and from there to the next job's `run`."""
    with SoundServer(RATE, devices=["mic"]) as server:
        order = surroundings({"blocks": blocks, "began": server.began, "rate": RATE, "block": BLOCK})
        order["env"] = {**order["env"], **server.environment}
        with subprocess.Popen([sys.executable, "manage.py", "microphone", "simulate"], **order) as process:
            if process.wait(timeout=60 + blocks * BLOCK / RATE * 3):
                raise RuntimeError(f"the network ended with exit code {process.returncode}")
    found: list[tuple[float, float]] = json.loads((PROJECT / "microphone/simulation/2/result.json").read_text())
    return found


def row(case: str, seconds: list[float], wanted: str) -> dict[str, Any]:
    """Return a line of the table, in ms."""
    cuts = statistics.quantiles([1000 * second for second in seconds], n=100)
    return {"case": case, "p50 ms": round(cuts[49], 2), "p90 ms": round(cuts[89], 2), "p99 ms": round(cuts[98], 2), "wanted": wanted}


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--blocks", type=int, default=1000)
    options = parser.parse_args()
    os.environ.pop("PULSE_SERVER", None)
    found = [pair for _ in range(options.runs) for pair in measured(options.blocks)]
    rows = [
        row("sound server and PortAudio, from the last frame on", [before for before, _ in found], ""),
        row("FISSION, from PortAudio's call to the next job's run", [after for _, after in found], f"p50 <= {WANTED:g}"),
    ]
    show(rows, ["case", "p50 ms", "p90 ms", "p99 ms", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
