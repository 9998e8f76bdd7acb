"""Random networks of all documented features, checked against a plain calculation.

    python -m tests.conformance.random_networks --seeds 300              seeds 0 to 299, in threads
    python -m tests.conformance.random_networks --first 17 --seeds 1     seed 17 alone
    python -m tests.conformance.random_networks --real --kills           in processes, with kills

A seed is a network: Python jobs and programs, BLOCK_COUNT, CHECKPOINT, ASYNC, MAX_QUEUE, RATIO,
large and small blocks, ways that part and meet again, jobs that finish early, windows of any size.
The exit code is 1 if a seed fails; each failing seed prints the network, what every job was waiting
for, and the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

#: Programs: their output as a function of all lines that they read, and output blocks for one input.
PROGRAMS: dict[str, tuple[str, Fraction | None]] = {
    "cat": ("cat <$2", Fraction(1)),
    "half": ("stdbuf -oL sed -n '2~2p' <$2", Fraction(1, 2)),
    "twice": ("stdbuf -oL sed p <$2", Fraction(2)),
    "paste": ("stdbuf -oL paste -d, $2 $4", Fraction(1)),
    # holds 4 KiB of its output back until there is more, so it needs larger windows
    "sed": ("sed '' <$2", Fraction(1)),
    # sends one for one without declaring it
    "varies": ("cat <$2", None),
}
HOLDS_BACK = {"sed"}
#: Programs that lose blocks when they are killed.
LOSES = {"varies"}
#: Programs without inputs, and without outputs.
PROGRAM_SOURCE, PROGRAM_SINK = "seq", "keeps"
MOST_COUNT = 5


@dataclass
class Node:
    """One job of a plan.

    Attributes:
        kind: "source", "generator", "python", "sink", or the name of a program.
        inputs: (index of the producer, BLOCK_COUNT) of each input.
        optional: indexes of the producers of ASYNC inputs.
        scale: number of source blocks in one block of its outputs.
        length: number of values of a source; for other jobs, compute blocks after which the job
            finishes by itself, None: never.
        big: extra bytes in each block of its outputs, beside the value.
        checkpoint, max_queue: attributes of the job.
    """

    kind: str
    inputs: list[tuple[int, int]]
    optional: list[int]
    scale: Fraction
    length: int | None
    big: int
    checkpoint: int | None
    max_queue: int

    @property
    def is_program(self) -> bool:
        return self.kind in PROGRAMS or self.kind in (PROGRAM_SOURCE, PROGRAM_SINK)

    @property
    def is_sink(self) -> bool:
        return self.kind in ("sink", PROGRAM_SINK)


@dataclass
class Plan:
    """A network.

    Attributes:
        nodes: its jobs, producers before consumers.
        blocks, size: limits of windows, where jobs run in threads.
    """

    seed: int
    nodes: list[Node]
    blocks: int
    size: int

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, windows of {self.blocks} blocks or {self.size} bytes"]
        for index, node in enumerate(self.nodes):
            takes = ", ".join(f"{one} x{count}" for one, count in node.inputs)
            more = "".join(f", {name} {value}" for name, value in vars(node).items() if name not in ("kind", "inputs", "scale") and value)
            lines.append(f"  {index + 1}: {node.kind} <- {takes or '-'}, scale {node.scale}{more}")
        return "\n".join(lines)


def plan(seed: int, *, kills: bool = False) -> Plan:
    """Return the network of a seed; with ``kills`` one in which kills lose no blocks."""
    rng = random.Random(seed)
    small = rng.random() < 0.6
    # in a small window, each block passes only with pressure, ten times a second
    blocks, size = (rng.choice([1, 2, 8, 64]), rng.choice([200_000, 1 << 20])) if small else (4096, 32 << 20)
    units = rng.choice([2, 6, 12]) if small else rng.choice([12, 60, 200])
    nodes: list[Node] = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        length = units * 6 - rng.choice([0, 0, 0, rng.randint(0, units)])
        checkpoint = rng.choice([1, 7, 50]) if kills else rng.choice([None, None, 1, 7, 50])
        kind = "source" if kills else rng.choice(["source", "source", "source", "generator", PROGRAM_SOURCE])
        big = 0 if kind == PROGRAM_SOURCE else _size(rng)
        nodes.append(Node(kind, [], [], Fraction(1), length, big, checkpoint if kind == "source" else None, 0))
    for _ in range(rng.randint(2, 7)):
        _add(rng, nodes, small, kills)
    used = {one for node in nodes for one, _ in node.inputs}
    for index in range(len(nodes)):
        if index not in used or rng.random() < 0.1:
            count = rng.choice([1, 1, 2, 3])
            queue = rng.choice([0, 0, 0, 1, 5]) if not kills and not nodes[index].is_program else 0
            length = rng.choice([None] * 6 + [rng.randint(1, 20)]) if not kills else None
            if not kills and rng.random() < 0.15:
                nodes.append(Node(PROGRAM_SINK, [(index, count)], [], nodes[index].scale * count, None, 0, None, 0))
                continue
            nodes.append(
                Node("sink", [(index, count)], [], nodes[index].scale * count, length, 0, rng.choice([None, None, 3, 1000]), queue)
            )
    _add_optional(rng, nodes)
    return Plan(seed, nodes, blocks, size)


def _size(rng: random.Random) -> int:
    return rng.choice([0, 0, 0, 0, 3_000, 80_000, 200_000])


def _add(rng: random.Random, nodes: list[Node], small: bool, kills: bool) -> None:
    producers = [index for index, node in enumerate(nodes) if not node.is_sink]
    kind = rng.choice(
        ["python", "python", "python", *(name for name in PROGRAMS if not (small and name in HOLDS_BACK) and not (kills and name in LOSES))]
    )
    many = 2 if "paste" in kind else 1 if kind in PROGRAMS else rng.choice([1, 1, 2, 2, 3])
    if "paste" in kind:
        producers = [index for index in producers if not nodes[index].is_program and not nodes[index].big]
        if not producers:
            return
    chosen = [rng.choice(producers) for _ in range(many)]
    scales = [nodes[index].scale for index in chosen]
    least = max(scales)
    fitting = []
    for factor in range(1, 7):
        scale = least * factor
        counts = [scale / one for one in scales]
        if all(count.denominator == 1 and count <= MOST_COUNT for count in counts):
            fitting.append((scale, [int(count) for count in counts]))
    if not fitting:
        return
    scale, counts = rng.choice(fitting[:3])
    if "paste" in kind:
        counts = [1, 1]
        if scales[0] != scales[1]:
            return
    ratio = (PROGRAMS[kind][1] if kind in PROGRAMS else None) or Fraction(1)
    # a program counts blocks, whatever BLOCK_COUNT its input has
    scale = scales[0] / ratio if kind in PROGRAMS else scale
    length = rng.choice([None] * 8 + [rng.randint(1, 30)]) if kind == "python" else None
    checkpoint = rng.choice([None, None, 3, 100, 1000]) if kind == "python" else None
    big = nodes[chosen[0]].big if kind in PROGRAMS else _size(rng)
    if kind in PROGRAMS and (any(nodes[one].big for one in chosen) and many > 1):
        return
    nodes.append(Node(kind, list(zip(chosen, counts, strict=True)), [], scale, length, big, checkpoint, 0))


def _add_optional(rng: random.Random, nodes: list[Node]) -> None:
    takers = [index for index, node in enumerate(nodes) if node.kind == "python"]
    while takers and rng.random() < 0.3:
        taker = rng.choice(takers)
        producers = [index for index, node in enumerate(nodes) if not node.is_sink and index != taker and not node.is_program]
        if producers:
            nodes[taker].optional.append(rng.choice(producers))


# -- the calculation


def calculated(nodes: Sequence[Node]) -> list[list[Any]]:
    """Return what each node sends or, if it is a sink, receives."""
    found: list[list[Any]] = []
    for index, node in enumerate(nodes):
        if not node.inputs:
            found.append([[index, number] for number in range(node.length or 0)])
            continue
        columns = []
        for one, count in node.inputs:
            blocks = found[one]
            groups = [blocks[start : start + count] for start in range(0, len(blocks) - count + 1, count)]
            columns.append(groups if count > 1 else [group[0] for group in groups])
        rows = list(zip(*columns, strict=False))
        if node.is_program:
            found.append(_given(node, [block for row in rows for block in _flat(node, row)]))
        else:
            rows = rows[: node.length] if node.length else rows
            found.append([[index, *row] for row in rows])
    return found


def _flat(node: Node, row: tuple[Any, ...]) -> list[Any]:
    if len(row) > 1:
        return [list(row)]
    return list(row[0]) if node.inputs[0][1] > 1 else [row[0]]


def _given(node: Node, blocks: list[Any]) -> list[Any]:
    if node.kind == "half":
        return blocks[1::2]
    if node.kind == "twice":
        return [block for block in blocks for _ in range(2)]
    return blocks


def judge(node: Node, got: list[Any], wanted: list[Any]) -> str:
    """Return what is wrong with the content of a sink; empty if nothing is."""
    if not node.max_queue:
        if got == wanted:
            return ""
        first = next((place for place, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), min(len(got), len(wanted)))
        return f"{len(got)} rows instead of {len(wanted)}; they differ from row {first}: {got[first:][:1]} instead of {wanted[first:][:1]}"
    rest = iter(wanted)
    strange = next((row for row in got if row not in rest), None)  # each is searched after the one before it
    return "" if strange is None else f"row {strange} was never sent, or comes too late"


# -- on the command line


def outcome(seed: int, *, real: bool = False, kills: bool = False) -> str:
    """Return what was wrong with a seed, with its network; empty if nothing was."""
    from tests.conformance import random_in_processes, random_in_threads

    drawn = plan(seed, kills=kills)
    try:
        wrong = random_in_processes.run(drawn, kills=kills) if real else random_in_threads.run(drawn)
    except Exception as why:
        wrong = f"{type(why).__name__}: {why}"
    if not wrong:
        return ""
    options = (" --real" if real else "") + (" --kills" if kills else "")
    return f"{drawn}\n{wrong}\nagain: python -m tests.conformance.random_networks --first {seed} --seeds 1{options}"


def main(arguments: list[str]) -> int:
    """Run seeds; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.random_networks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--real", action="store_true", help="each job in a process of its own")
    parser.add_argument("--kills", action="store_true", help="with --real: kill some of them")
    options = parser.parse_args(arguments)
    began, bad = time.monotonic(), 0
    for seed in range(options.first, options.first + options.seeds):
        text = outcome(seed, real=options.real, kills=options.kills)
        bad += bool(text)
        if text:
            sys.stdout.write(f"{text}\n\n")
            sys.stdout.flush()
    sys.stdout.write(f"{options.seeds} seeds from {options.first}: {bad} bad, {time.monotonic() - began:.0f} s\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
