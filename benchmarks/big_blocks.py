"""Numpy arrays of 1 MB over two hops through shared memory: at least 8 times the bare chain, whose blocks go through sockets.

The second row is how far that is from the speed of memory: the chain copies each block twice, in two processes, and the copies
that one process alone makes in the same time are what it is compared with. The aim is half of that.

    python -m benchmarks.big_blocks [--runs 5] [--blocks 6000] [--bare-blocks 600] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import time

from benchmarks.bare_chain import bare_chain
from benchmarks.chain import MB, arguments, fission_chain, paired, show

#: Buffers that are copied into in turn; as many as a window holds.
BUFFERS = 32


def memory_copies(count: int) -> dict[str, float]:
    """Copy 1 MB so many times; return copies a second."""
    source = os.urandom(MB)
    targets = [bytearray(source) for _ in range(BUFFERS)]
    started = time.perf_counter()
    for number in range(count):
        memoryview(targets[number % BUFFERS])[:] = source
    return {"blocks_per_s": count / (time.perf_counter() - started)}


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--blocks", type=int, default=6000)
    parser.add_argument("--bare-blocks", type=int, default=600, help="blocks for the bare chain, which is slower")
    options = parser.parse_args()
    payload = os.urandom(MB)

    def mine() -> dict[str, float]:
        return fission_chain(options.blocks, size=MB, numpy=True)

    against_bare = paired(mine, lambda: bare_chain(options.bare_blocks, payload), "blocks_per_s", options.runs)
    against_memory = paired(mine, lambda: memory_copies(options.blocks), "blocks_per_s", options.runs)
    rows = [
        {"case": "1 MB numpy, against the bare chain", **against_bare, "wanted": ">= 8"},
        {"case": "1 MB numpy, against copies in memory", **against_memory, "wanted": "aim 0.5"},
    ]
    show(rows, ["case", "figure", "fission", "against", "ratio", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
