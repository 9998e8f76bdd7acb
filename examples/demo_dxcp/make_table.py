#!/usr/bin/env python3
"""Measures the errors of demo_dxcp for many offsets: writes the table in README.md and estimates.png.

From the project's folder: python3 demo_dxcp/make_table.py. It takes about a minute and needs matplotlib (extra ``viz``).
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # networks import each other from the project's folder
    sys.path.insert(0, str(HERE.parent))

from demo_dxcp import dxcp, scene  # noqa: E402

#: What is measured: offsets of all sizes with a good signal, then two with a bad one. Each has words, noise and a start of its own.
SCENES = [
    scene.Scene(60.0, ppm, ms, snr, seed)
    for seed, (ppm, ms, snr) in enumerate(
        [
            (-1000.0, -100.0, 20.0),
            (-500.0, 60.0, 20.0),
            (-200.0, 12.5, 20.0),
            (-75.0, -40.0, 20.0),
            (-10.0, 0.0, 20.0),
            (0.0, 100.0, 20.0),
            (10.0, -12.5, 20.0),
            (75.0, 5.0, 20.0),
            (200.0, 80.0, 20.0),
            (500.0, -75.0, 20.0),
            (1000.0, 40.0, 20.0),
            (200.0, 12.5, 5.0),
            (-1000.0, 12.5, 5.0),
        ],
        start=1,
    )
]
AFTER_S = (15.0, 30.0, 60.0)
HEADER = (
    "| true ppm | SNR | estimated after 15 s | after 30 s | after 60 s | error | true ms | estimated | error |",
    "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
)


def estimates(made: scene.Scene) -> list[dxcp.Estimate]:
    """Return the estimates after each shift of a scene's recordings."""
    first, second = scene.record(made)
    synchroniser = dxcp.Synchroniser()
    found = []
    for start in range(0, len(first), dxcp.SHIFT):
        synchroniser.add(first[start : start + dxcp.SHIFT], second[start : start + dxcp.SHIFT])
        found.append(synchroniser.estimate)
    return found


def row(made: scene.Scene, found: list[dxcp.Estimate]) -> str:
    """Return a scene's row of the table."""
    ppm = [[estimate for estimate in found if estimate.seconds <= after][-1].rate_offset_ppm for after in AFTER_S]
    ms = found[-1].time_offset_ms
    cells = [
        f"{made.rate_offset_ppm:g}",
        f"{made.snr_db:g} dB",
        *(fixed(value, 2) for value in ppm),
        fixed(ppm[-1] - made.rate_offset_ppm, 2),
        f"{made.time_offset_ms:g}",
        fixed(ms, 3),
        fixed(ms - made.time_offset_ms, 3),
    ]
    return "| " + " | ".join(cells) + " |"


def fixed(value: float, digits: int) -> str:
    """Return a number with so many digits after the point, and zero without a sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def draw(found: list[list[dxcp.Estimate]], path: Path) -> None:
    """Draw the estimates against the true values, and the size of their errors over time, into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    true = [made.rate_offset_ppm for made in SCENES]
    left.plot(true, [estimates[-1].rate_offset_ppm for estimates in found], "o", fillstyle="none")
    left.plot([-1000, 1000], [-1000, 1000], linewidth=0.8, color="grey")
    left.set(xlabel="true offset in ppm", ylabel="estimate after 60 s in ppm")
    for made, estimates in zip(SCENES, found, strict=True):
        seconds = [estimate.seconds for estimate in estimates]
        errors = [abs(estimate.rate_offset_ppm - made.rate_offset_ppm) for estimate in estimates]
        right.semilogy(seconds, errors, linewidth=0.9, label=f"{made.rate_offset_ppm:g} ppm, {made.snr_db:g} dB")
    right.axhline(1, linewidth=0.8, color="grey")
    right.set(xlabel="sound heard in seconds", ylabel="error in ppm", xlim=(0, 60), ylim=(1e-3, 1e3))
    right.legend(fontsize="xx-small", ncols=2)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    if importlib.util.find_spec("matplotlib") is None:  # said now, not after a minute
        sys.exit("the picture needs matplotlib, which is not installed; install it: python3 -m pip install matplotlib")
    found = []
    lines = list(HEADER)
    for made in SCENES:
        found.append(estimates(made))
        lines.append(row(made, found[-1]))
        print(lines[-1], flush=True)
    readme = HERE / "README.md"
    text, count = re.subn(
        r"(?s)(<!-- table: make_table.py -->\n).*?(?=<!-- end of the table -->)",
        lambda head: head[1] + "\n".join(lines) + "\n",
        readme.read_text(),
    )
    if count != 1:
        sys.exit(f"{readme} must have one place for the table, between its two comments; it has {count}")
    readme.write_text(text)
    draw(found, HERE / "estimates.png")


if __name__ == "__main__":
    main()
