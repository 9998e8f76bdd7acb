"""Numpy arrays of 1 MB over two hops through shared memory, each byte read at the sink; the other chains send them through sockets, or as
ezmsg through shared memory.

The second row compares this with the speed of memory: the chain copies each block twice, in two processes; the reference is the number
of copies that a single process makes in the same time. The goal is half of that.

    python -m benchmarks.big_blocks [--runs 2] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import time

from benchmarks.chain import COLUMNS, MB, against_peers, arguments, fission_chain, paired, show
from benchmarks.peers import here

#: Number of buffers that are copied into in turn; as many as a window holds.
BUFFERS = 32


def memory_copies(seconds: float) -> dict[str, float]:
    """Copy 1 MB again and again; return copies a second."""
    source = os.urandom(MB)
    targets = [bytearray(source) for _ in range(BUFFERS)]
    started = time.perf_counter()
    number = 0
    while time.perf_counter() - started < seconds:
        memoryview(targets[number % BUFFERS])[:] = source
        number += 1
    return {"blocks_per_s": number / (time.perf_counter() - started)}


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source of each chain sends")
    options = parser.parse_args()
    order = {"seconds": options.seconds, "size": MB, "kind": "numpy"}
    figures = {"blocks_per_s": ">= 3 to careful"}
    rows = against_peers(
        "1 MB numpy, read at the sink", order | {"read": "read"}, figures, options.runs, here(("bare", "careful", "ezmsg"))
    )
    memory = paired(lambda: fission_chain(order), lambda: memory_copies(options.seconds), "blocks_per_s", options.runs)
    rows.append({"case": "1 MB numpy, against copies in memory", **memory, "wanted": "aim 0.5"})
    show(rows, [*COLUMNS, "against", "ratio"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
