"""Each benchmark runs end to end with tiny numbers, and its JSON has the rows that its table has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BRIEF = ["--runs", "1", "--seconds", "0.05"]


def rows_of(tmp_path: Path, program: str, *options: str) -> list[dict[str, Any]]:
    """Run a benchmark; return the rows of its JSON."""
    result = tmp_path / f"{program}.json"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *options, "--json", str(result)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    rows: list[dict[str, Any]] = json.loads(result.read_text())["rows"]
    for row in rows:
        assert str(row.get("case", row.get("tap"))) in done.stdout
    return rows


def test_every_program_can_be_imported() -> None:
    names = sorted(f"benchmarks.{file.stem}" for file in (ROOT / "benchmarks").glob("*.py") if file.stem != "__main__")
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_small_blocks_are_compared_with_all_three_peers(tmp_path: Path) -> None:
    pickled, raw = rows_of(tmp_path, "small_blocks", *BRIEF)

    assert all(pickled[f"to {peer}"] > 0 for peer in ("bare", "careful", "ezmsg"))
    assert all(raw[f"to {peer}"] > 0 for peer in ("bare", "careful", "ezmsg"))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_windows_of_a_chain_can_be_taken_away(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "windows", "--runs", "1", "--blocks", "1000")

    assert row["ratio"] > 0


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("program", "options", "cases"),
    [
        ("changed_arrays", BRIEF, 4),
        ("checkpoint_every", [*BRIEF, "--blocks", "20"], 3),
        ("checkpoint_large", BRIEF, 2),
        ("executables", BRIEF, 5),
        ("fan_out", BRIEF, 4),
        ("latency", ["--runs", "1", "--blocks", "20"], 3),
        ("big_blocks", BRIEF, 2),
        ("long_chains", [*BRIEF, "--hops", "2", "3"], 8),
        ("many_imports", ["--jobs", "4", "--seconds", "0.2"], 8),
        ("pipe_kinds", BRIEF, 6),
        ("placement", ["--runs", "1", "--nodes", "20", "30"], 4),
        ("scaling", ["--quick", "--runs", "1"], 37),
        ("start", ["--runs", "1"], 4),
        ("sinks", ["--runs", "1", "--rows", "100", "--blocks", "20"], 2),
        ("taps", ["--runs", "1", "--seconds", "0.3"], 3),
        ("page", ["--runs", "1", "--seconds", "0.3"], 2),
        ("sound_hour", ["--runs", "1", "--minutes", "0.05"], 1),
        pytest.param("microphone_delay", ["--runs", "1", "--blocks", "20"], 2, marks=pytest.mark.soak),
    ],
)
def test_a_program_shows_what_it_measures_and_what_is_wanted(tmp_path: Path, program: str, options: list[str], cases: int) -> None:
    rows = rows_of(tmp_path, program, *options)

    assert len(rows) == cases
    assert any(row["wanted"] for row in rows) or program == "placement"  # nothing is wanted of small networks
