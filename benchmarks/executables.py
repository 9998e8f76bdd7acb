"""An executable in C that copies its input, as a job, against the same program between two Python processes over named pipes.

Blocks are bytes of a fixed length. From 1 KB on the job has at least half of the speed. At 8 bytes the source and the sink, which
handle each block in Python, take most of the time: so each size is also compared with the same chain with a Python job, which
returns each block, in place of the program. Needs a C compiler (`cc`).

    python -m benchmarks.executables [--runs 1] [--seconds 1] [--json FILE]
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.chain import MB, PROJECT, arguments, fission_chain, paired, show
from benchmarks.networks.chain.meter import DEFAULTS, Meter, blocks
from benchmarks.peers import LIMIT_S

SIZES = {"8 bytes": 8, "1 KB": 1024, "16 KB": 16_384, "64 KB": 65_536, "1 MB": MB}
#: Blocks up to this size cost more in the source and the sink than on their way.
SMALL_BYTES = 8
SOURCE = PROJECT / "chain/copier.c"


def compiled(folder: Path) -> Path:
    """Compile the program into a folder. Raises SystemExit: there is no compiler."""
    program = folder / "copier"
    try:
        subprocess.run(["cc", "-O2", "-o", program, SOURCE], check=True)
    except FileNotFoundError:
        raise SystemExit("Error: cc is missing: this benchmark needs a C compiler; install one") from None
    return program


def _write(order: dict[str, Any], path: str) -> None:
    with open(path, "wb") as file:
        for block in blocks(order):
            file.write(block)


def _read(order: dict[str, Any], path: str, results: Any) -> None:
    take = Meter(order).take
    with open(path, "rb") as file:
        while (result := take(file.read(order["size"]))) is None:
            pass
    results.put(result)


def named_pipes(program: Path, order: dict[str, Any]) -> dict[str, float]:
    """Run the program between two Python processes; return what the meter says."""
    order = DEFAULTS | order
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        first, second = f"{folder}/first", f"{folder}/second"
        os.mkfifo(first)
        os.mkfifo(second)
        results = spawn.Queue()
        ends = [spawn.Process(target=_write, args=(order, first)), spawn.Process(target=_read, args=(order, second, results))]
        for end in ends:
            end.daemon = True
            end.start()
        middle = subprocess.Popen([program, "-i", first, "-o", second])
        try:
            result: dict[str, float] = results.get(timeout=LIMIT_S)
        finally:
            middle.kill()
            middle.wait()
            for end in ends:
                end.kill()
                end.join()
    return result


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds for which each source sends")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fission-benchmark-") as folder:
        program = compiled(Path(folder))
        for case, size in SIZES.items():
            order = {"seconds": options.seconds, "size": size, "kind": "raw", "pipe": "bytes"}
            with_python: list[tuple[float, float]] = []

            def with_program(order: dict[str, Any] = order, rates: list[tuple[float, float]] = with_python) -> dict[str, float]:
                python = fission_chain(order)["blocks_per_s"]
                result = fission_chain(order | {"program": str(program)})
                rates.append((result["blocks_per_s"], python))
                return result

            row = paired(with_program, lambda order=order: named_pipes(program, order), "blocks_per_s", options.runs)
            row["python"] = round(statistics.median(python for _, python in with_python))
            row["to python"] = round(statistics.median(rate / python for rate, python in with_python), 2)
            rows.append({"case": case, **row, "wanted": ">= 0.5" if size > SMALL_BYTES else ">= 0.9 to python"})
    print("against: the same program between two Python processes over named pipes; python: a Python job in place of the program")
    show(rows, ["case", "figure", "fission", "against", "ratio", "ratios", "python", "to python", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
