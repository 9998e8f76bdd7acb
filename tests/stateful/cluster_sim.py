"""The simulated cluster on the command line.

    python -m tests.stateful.cluster_sim --seeds 1000            seeds 0 to 999
    python -m tests.stateful.cluster_sim --first 17 --seeds 1    seed 17 alone, with its history
    python -m tests.stateful.cluster_sim --broken no-mark        with a broken rule; see sim_broken

A seed is a random network with random delays and random faults; the head of `sim_cluster` lists
the invariants. The exit code is 1 if a seed fails; each failing seed prints the command that
repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.stateful.sim_broken import BROKEN
from tests.stateful.sim_cluster import run_seed

#: Number of failing seeds that are reported in full. Arbitrary.
MOST_REPORTED = 5


def outcome(seed: int, *, broken: str = "", faults: bool = True, times: bool = False) -> str:
    """Return the error of a seed with its history; empty if it passes."""
    with BROKEN[broken]() if broken else contextlib.nullcontext():
        cluster, wrong = run_seed(seed, faults=faults, times=times)
    if wrong is None:
        return ""
    lines = [f"seed {seed}: {type(wrong).__name__}: {wrong}"]
    if cluster is not None:
        lines += ["the network:", str(cluster.scenario), f"  window {cluster.scenario.window}", "what happened:", *cluster.happened]
    more = f" --broken {broken}" if broken else ""
    more += "" if faults else " --calm"
    more += " --times" if times else ""
    return "\n".join([*lines, f"again: python -m tests.stateful.cluster_sim --first {seed} --seeds 1{more}"])


def main(arguments: list[str]) -> int:
    """Run seeds; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stateful.cluster_sim", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--broken", choices=sorted(BROKEN), default="", help="break a rule on purpose")
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--times", action="store_true", help="sinks ask for the times of blocks: sim_times")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    began, bad = time.monotonic(), 0
    seeds = range(options.first, options.first + options.seeds)
    work = partial(outcome, broken=options.broken, faults=not options.calm, times=options.times)
    with contextlib.ExitStack() as stack:
        many = options.processes > 1 and options.seeds > 1
        found = stack.enter_context(ProcessPoolExecutor(options.processes)).map(work, seeds, chunksize=10) if many else map(work, seeds)
        for text in found:
            bad += bool(text)
            if text and bad <= MOST_REPORTED:
                sys.stdout.write(f"{text}\n\n")
                sys.stdout.flush()
    kind = options.broken or "rules as designed"
    sys.stdout.write(f"seeds {seeds[0]} to {seeds[-1]}, {kind}: {bad} bad, {time.monotonic() - began:.0f} s\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
