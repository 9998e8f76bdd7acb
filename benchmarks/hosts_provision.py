"""`fission provision servers` on three fresh hosts: at most 90 s from a wheelhouse, and 20 s when there is nothing to change.

The hosts are network namespaces of this machine with sshd and a root file system of their own, so all of them share its cores.

    python -m benchmarks.hosts_provision [--hosts 3] [--runs 1] [--json FILE]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chain import arguments, show
from tests.provision.boards import Boards, make_wheelhouse


def timed(boards: Boards, *, changes: bool) -> float:
    """Set the hosts up, or find that nothing is to do; return how long it took in seconds.

    Args:
        boards: the hosts.
        changes: whether there is something to change.

    Raises:
        RuntimeError: a host was not set up, or what was to do is not as expected.
    """
    began = time.monotonic()
    done = boards.provision("servers", "--wheelhouse", "wheelhouse")
    took = time.monotonic() - began
    number = len(list(boards))
    if done.stdout.count(": ready, ") != number or done.stdout.count("no change") != (0 if changes else number):
        raise RuntimeError(f"not what was expected: {done.stdout}{done.stderr}")
    return took


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--hosts", type=int, default=3)
    options = parser.parse_args()
    first, second = [], []
    for _ in range(options.runs):
        # a short path: the sockets of ssh are in it
        with tempfile.TemporaryDirectory(prefix="fsn-") as folder:
            os.environ["TMPDIR"] = folder
            boards = Boards(options.hosts, Path(folder) / "boards")
            try:
                make_wheelhouse(boards.project / "wheelhouse", "cluster")
                first.append(timed(boards, changes=True))
                second.append(timed(boards, changes=False))
            finally:
                boards.close()
    rows = [
        {"case": f"{options.hosts} fresh hosts", "figure": "s", "fission": round(statistics.median(first), 1), "wanted": "<= 90"},
        {"case": "the same again", "figure": "s", "fission": round(statistics.median(second), 1), "wanted": "<= 20"},
    ]
    show(rows, ["case", "figure", "fission", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
