"""Compares two source trees: each benchmark runs in both, in pairs, and the ratios of neighbours count.

The benchmarks of the new tree measure both, so that a change of the benchmarks does not count as a change of speed; only the files of
INTERNALS, which use names from inside FISSION, are those of each tree. `--own-benchmarks` takes all of them from each tree. They run with
the tree's own interpreter (.venv) if it has one, else with this one. A benchmark with options is one quoted word. The trees alternate in
which runs first. The speed is new/old for rates and old/new for times, so more is always better; the median over the pairs must reach
`--least`. The new tree is the one that contains this program.

    git worktree add --detach /tmp/old COMMIT
    python -m benchmarks.compare /tmp/old small_blocks latency "failover --faults 5" [--pairs 5] [--least 0.97] [--json FILE]
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.chain import arguments, show

NEW_TREE = Path(__file__).resolve().parent.parent
#: Files of benchmarks/ that use names from inside FISSION.
INTERNALS = ("fault_times.py", "networks/chain/windowless.py")
#: Seconds after which a run of one benchmark is aborted.
LIMIT_S = 1800.0
#: Pairs of one benchmark that are repeated because a run failed, as on a machine that is too busy.
FAILURES = 2
#: The figure of a row is the first of these that it has.
FIGURES = ("fission", "all")
#: Figures of which more is better; all others are times, of which less is better.
RATES = ("/s", "per_s")


class RunFailed(Exception):
    """A run of a benchmark failed; the text has its output."""


class Tree:
    """A checkout of the repository, with the interpreter that runs its benchmarks.

    Args:
        root: the folder with `src` and `benchmarks`.
        workplace: an empty folder, for the benchmarks that are run.
        yardstick: the tree whose benchmarks are run.

    Raises:
        SystemExit: it has no benchmarks, or its interpreter imports fission from elsewhere.
    """

    def __init__(self, root: Path, workplace: Path, yardstick: Path) -> None:
        self.root, self._workplace = root.resolve(), workplace
        own = self.root / ".venv/bin/python"
        self._interpreter = str(own) if own.exists() else sys.executable
        self._environment = os.environ | {"PYTHONPATH": str(self.root / "src")}
        if not (self.root / "benchmarks").is_dir():
            raise SystemExit(f"Error: {root} is wrong: it must be a tree with the folder benchmarks; check it out with `git worktree add`")
        ignored = shutil.ignore_patterns("__pycache__", "simulation", "local", "runs", "results")
        shutil.copytree(yardstick / "benchmarks", workplace / "benchmarks", ignore=ignored)
        for name in INTERNALS:
            if (self.root / "benchmarks" / name).exists():
                shutil.copy(self.root / "benchmarks" / name, workplace / "benchmarks" / name)
        found = self._python("-c", "import fission; print(fission.__file__)").strip()
        if not Path(found).is_relative_to(self.root):
            raise SystemExit(f"Error: the interpreter of {root} is wrong: it must import fission from there, but imports {found}")

    def _python(self, *words: str) -> str:
        """Run the interpreter in the tree; return what it printed."""
        done = subprocess.run(
            [self._interpreter, *words], cwd=self._workplace, env=self._environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RunFailed(f"{shlex.join(words)} failed in {self.root}\n{done.stdout}{done.stderr}")
        return done.stdout

    def run(self, benchmark: str) -> dict[str, tuple[float, bool]]:
        """Run a benchmark once; return the figure of each case, and whether more of it is better."""
        name, *options = shlex.split(benchmark)
        if "--runs" not in options:
            options += ["--runs", "1"]
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            self._python("-m", f"benchmarks.{name}", *options, "--json", str(result))
            rows = json.loads(result.read_text())["rows"]
        found = {}
        for row in rows:
            key = next((key for key in FIGURES if isinstance(row.get(key), int | float)), None)
            if key is not None:
                found[str(row["case"])] = float(row[key]), str(row.get("figure", "")).endswith(RATES)
        return found


def speeds(old: Tree, new: Tree, benchmark: str, pairs: int, least: float) -> list[dict[str, Any]]:
    """Run a benchmark this many times in both trees; return a row for each case that both have."""
    found: dict[str, list[tuple[float, float, bool]]] = {}
    number = failures = 0
    while number < pairs:
        turn = (old, new) if number % 2 == 0 else (new, old)
        try:
            results = {tree: tree.run(benchmark) for tree in turn}
        except RunFailed as error:
            failures += 1
            print(f"{benchmark}: {error}", file=sys.stderr)
            if failures > FAILURES:
                return [{"benchmark": shlex.split(benchmark)[0], "case": f"{failures} runs failed", "verdict": "FAILED"}]
            continue
        number += 1
        print(f"{benchmark}: pair {number} of {pairs}", file=sys.stderr)
        for case, (after, more_is_better) in results[new].items():
            if case in results[old]:
                found.setdefault(case, []).append((results[old][case][0], after, more_is_better))
    if not found:
        raise SystemExit(f"Error: {benchmark} has no case that is in both trees with a figure; compare other benchmarks")
    rows = []
    for case, values in found.items():
        ratios = sorted(after / before if more_is_better else before / after for before, after, more_is_better in values)
        speed = statistics.median(ratios)
        rows.append(
            {
                "benchmark": shlex.split(benchmark)[0],
                "case": case,
                "old": statistics.median(before for before, _, _ in values),
                "new": statistics.median(after for _, after, _ in values),
                "new/old": round(statistics.median(after / before for before, after, _ in values), 3),
                "speed": round(speed, 3),
                "least": round(ratios[0], 3),
                "most": round(ratios[-1], 3),
                "verdict": "" if speed >= least else f"WORSE than {least:g}",
            }
        )
    return rows


def main() -> int:
    """Print the table and write the JSON; 1 if a case became slower."""
    parser = arguments(__doc__)
    parser.add_argument("old_tree", type=Path, help="the tree before the change")
    parser.add_argument("benchmarks", nargs="+", help="names of programs in benchmarks/, each with options of its own in one quoted word")
    parser.add_argument("--new-tree", type=Path, default=NEW_TREE, help="the tree after it; the one of this program unless given")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each benchmark in each tree")
    parser.add_argument("--least", type=float, default=0.97, help="the least speed that passes")
    parser.add_argument("--own-benchmarks", action="store_true", help="measure each tree with its own benchmarks")
    options = parser.parse_args()
    options.runs = options.pairs
    with tempfile.TemporaryDirectory(prefix="fission-benchmark-") as folder:
        old, new = (
            Tree(root, Path(folder, name), root if options.own_benchmarks else options.new_tree)
            for root, name in ((options.old_tree, "old"), (options.new_tree, "new"))
        )
        print(f"old: {old.root}\nnew: {new.root}\n{options.pairs} pairs; medians; speed: more is better, with the least and most of all")
        rows = [row for benchmark in options.benchmarks for row in speeds(old, new, benchmark, options.pairs, options.least)]
    show(rows, ["benchmark", "case", "old", "new", "new/old", "speed", "least", "most", "verdict"], options)
    return 1 if any(row["verdict"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
