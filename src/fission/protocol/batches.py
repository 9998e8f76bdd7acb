"""Builds batches: consecutive compute blocks, from the blocks that wait on the inputs.

A block that is permanently missing is replaced by a dummy: `InputSpec.dummy` if there is one, else
the previous block of that input again, with the corrupted bit in its head. Without a previous
block, the compute block is left out, and the blocks of the other inputs count as unmatched.

Which compute blocks are complete is up to `fission.protocol.align`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fission.protocol.inputs import LOST, Input


class Batch(NamedTuple):
    """Consecutive compute blocks.

    Attributes:
        generation: generation of the numbering; if it differs from that of the previous batch,
            numbering has restarted.
        numbers: numbers of the compute blocks, ascending; a list only where some were left out.
        columns: payload per input and compute block, or the list of its payloads where
            BLOCK_COUNT > 1.
        heads: heads, as numbers, in the same layout as ``columns``; None if all are 0.
    """

    generation: int
    numbers: range | list[int]
    columns: list[list[Any]]
    heads: list[list[Any]] | None


def build(inputs: Sequence[Input], generation: int, first: int, count: int, corrupted: int) -> Batch | None:
    """Take complete compute blocks from the inputs; return None if all of them are left out.

    Args:
        inputs: inputs, in the order of the job.
        generation: generation of the numbering.
        first: number of the first compute block.
        count: number of compute blocks, from 1.
        corrupted: head of a dummy.
    """
    numbers = range(first, first + count)
    columns: list[list[Any]] = []
    heads: list[list[Any]] = []
    some_heads = False
    lost: list[tuple[Input, list[int]]] = []
    left_out: set[int] = set()
    for one in inputs:
        size = one.spec.block_count
        items, item_heads, lost_at = one.pull(one.position(first), count * size)
        if lost_at and item_heads is not None:
            one.fill(items, lost_at)
            for index in lost_at:
                item_heads[index] = corrupted
                if items[index] is LOST:
                    left_out.add(index // size)
            lost.append((one, lost_at))
        one.previous = items[-1]
        some_heads = some_heads or item_heads is not None
        item_heads = item_heads or [0] * len(items)
        columns.append(items if size == 1 else _groups(items, size))
        heads.append(item_heads if size == 1 else _groups(item_heads, size))
    for one, lost_at in lost:
        one.counts.dummies += len(lost_at)
    if not left_out:
        return Batch(generation, numbers, columns, heads if some_heads else None)
    _count_left_out(inputs, left_out, dict(lost))
    keep = [index for index in range(count) if index not in left_out]
    if not keep:
        return None
    return Batch(generation, [numbers[index] for index in keep], _kept(columns, keep), _kept(heads, keep))


def _count_left_out(inputs: Sequence[Input], left_out: set[int], lost: dict[Input, list[int]]) -> None:
    for one in inputs:
        size = one.spec.block_count
        no_dummies = sum(index // size in left_out for index in lost.get(one, ()))
        one.counts.dummies -= no_dummies
        one.counts.unmatched += len(left_out) * size - no_dummies


def _kept(columns: list[list[Any]], keep: list[int]) -> list[list[Any]]:
    return [[column[index] for index in keep] for column in columns]


def _groups(items: list[Any], size: int) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]
