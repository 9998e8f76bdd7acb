"""`python -m benchmarks.compare`, with trees whose benchmarks give known figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
#: Writes the rows that the tree has, and notes that it ran.
BENCHMARK = """
import json, sys
from pathlib import Path
import fission
target = Path(sys.argv[sys.argv.index("--json") + 1])
with open(CALLS, "a") as file:
    file.write(" ".join(sys.argv[1:-1]) + "\\n")
target.write_text(json.dumps({"rows": fission.ROWS}))
"""


def tree(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A tree with one benchmark, whose result comes from the fission of that tree."""
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks/__init__.py").touch()
    (folder / "benchmarks/known.py").write_text(BENCHMARK.replace("CALLS", repr(str(folder / "calls"))))
    (folder / "src/fission").mkdir(parents=True)
    (folder / "src/fission/__init__.py").write_text(f"ROWS = {rows!r}\n")
    return folder


def compare(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *words], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )


def test_the_speed_is_above_one_where_the_new_tree_is_faster(tmp_path: Path) -> None:
    old = tree(
        tmp_path / "old", [{"case": "rate", "figure": "blocks_per_s", "fission": 100}, {"case": "delay", "figure": "p50_us", "fission": 10}]
    )
    new = tree(
        tmp_path / "new", [{"case": "rate", "figure": "blocks_per_s", "fission": 150}, {"case": "delay", "figure": "p50_us", "fission": 5}]
    )
    result = tmp_path / "result.json"

    done = compare(str(old), "known --blocks 3", "--new-tree", str(new), "--pairs", "2", "--json", str(result))

    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(result.read_text())["rows"]}
    assert [(rows[case]["new/old"], rows[case]["speed"]) for case in ("rate", "delay")] == [(1.5, 1.5), (0.5, 2.0)]
    assert not (old / "calls").exists()  # the new tree's benchmark measured both
    assert (new / "calls").read_text() == 4 * "--blocks 3 --runs 1 --json\n"


def test_each_tree_can_be_measured_by_its_own_benchmarks(tmp_path: Path) -> None:
    old, new = (tree(tmp_path / name, [{"case": "a", "figure": "p50_us", "fission": 1}]) for name in ("old", "new"))

    done = compare(str(old), "known", "--new-tree", str(new), "--pairs", "1", "--own-benchmarks")

    assert done.returncode == 0, done.stderr
    assert (old / "calls").read_text() == (new / "calls").read_text() == "--runs 1 --json\n"


def test_files_that_use_internals_are_those_of_each_tree(tmp_path: Path) -> None:
    rows = [{"case": "a", "figure": "p50_us", "fission": 1}]
    old, new = (tree(tmp_path / name, rows) for name in ("old", "new"))
    for root, figure in ((old, 2), (new, 4)):
        (root / "benchmarks/fault_times.py").write_text(f"FIGURE = {figure}\n")
    own = "from benchmarks.fault_times import FIGURE\nfission.ROWS[0]['fission'] = FIGURE\ntarget ="
    (new / "benchmarks/known.py").write_text((new / "benchmarks/known.py").read_text().replace("target =", own))

    done = compare(str(old), "known", "--new-tree", str(new), "--pairs", "1", "--least", "0.4", "--json", str(tmp_path / "result"))

    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "result").read_text())["rows"]
    assert (row["old"], row["new"], row["speed"]) == (2, 4, 0.5)


@pytest.mark.parametrize(("figure", "before", "after"), [("blocks_per_s", 100, 96), ("p50_us", 96, 100)])
def test_a_case_that_became_slower_fails(tmp_path: Path, figure: str, before: float, after: float) -> None:
    old = tree(tmp_path / "old", [{"case": "a", "figure": figure, "fission": before}])
    new = tree(tmp_path / "new", [{"case": "a", "figure": figure, "fission": after}])

    done = compare(str(old), "known", "--new-tree", str(new), "--pairs", "1")

    assert done.returncode == 1, done.stderr
    assert "WORSE than 0.97" in done.stdout
    assert compare(str(old), "known", "--new-tree", str(new), "--pairs", "1", "--least", "0.9").returncode == 0


def test_a_folder_without_benchmarks_is_refused(tmp_path: Path) -> None:
    done = compare(str(tmp_path), "known")

    assert done.returncode == 1
    assert f"Error: {tmp_path} is wrong: it must be a tree with the folder benchmarks" in done.stderr


def test_trees_without_a_common_case_are_refused(tmp_path: Path) -> None:
    old, new = (tree(tmp_path / name, [{"case": name, "figure": "p50_us", "fission": 1}]) for name in ("old", "new"))

    done = compare(str(old), "known", "--new-tree", str(new), "--pairs", "1")

    assert done.returncode == 1
    assert "Error: known has no case that is in both trees" in done.stderr


def test_a_pair_with_a_failed_run_is_repeated_and_then_given_up(tmp_path: Path) -> None:
    old, new = (tree(tmp_path / name, [{"case": "a", "figure": "p50_us", "fission": 1}]) for name in ("old", "new"))
    program = new / "benchmarks/known.py"
    sound = program.read_text()

    first = repr(str(tmp_path / "first"))
    once = f"from pathlib import Path\nif not Path({first}).exists():\n    Path({first}).touch()\n    raise SystemExit(3)\n"
    program.write_text(once + sound)
    assert compare(str(old), "known", "--new-tree", str(new), "--pairs", "1").returncode == 0

    program.write_text("raise SystemExit('broken')\n")
    done = compare(str(old), "known", "--new-tree", str(new), "--pairs", "1")
    assert done.returncode == 1
    assert "3 runs failed" in done.stdout
    assert "broken" in done.stderr
