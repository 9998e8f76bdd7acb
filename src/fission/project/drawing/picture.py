"""The elements of a picture: boxes, arrows, and the layer and row of each.

Layers go from left to right: a job is one layer after the last of the jobs that it waits for.
Within a layer jobs are near those that they are joined to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fission.core.base import group_names
from fission.core.network import Network

#: Fill colours of jobs: light enough for dark text, distinguishable without red and green alone. Arbitrary.
COLOURS = ("#cfe2ff", "#ffe0b3", "#d1f0d1", "#f3d1f0", "#fff3b0", "#cceeee", "#e3d5ca", "#d6d6f5")
UNPLACED = "#ffffff"
#: What colours and frames stand for: the nodes of the jobs, or the names of their classes.
By = Literal["node", "name"]


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """What a user may choose of every picture.

    Attributes:
        title: above the picture; None: the network's name.
        pipe_class: whether an arrow's label has the pipe's class beside its id.
        by: what colours stand for.
    """

    title: str | None = None
    pipe_class: bool = True
    by: By = "node"


@dataclass(frozen=True, slots=True)
class Box:
    """A job in the picture.

    Attributes:
        key: its identifier in the picture's text.
        name: the job's name.
        kind: the name of its class.
        local: whether it runs on the client.
        node: its present node; empty if the network is not running, or the job has no place.
        layer, row: its position.
    """

    key: str
    name: str
    kind: str
    local: bool
    node: str
    layer: int
    row: int

    @property
    def lines(self) -> list[str]:
        """What is written in it."""
        return [self.name, f"node {self.node}"] if self.node else [self.name]


@dataclass(frozen=True, slots=True)
class Arrow:
    """A pipe in the picture; the key of an open end is "open_" and the pipe's id.

    ``via``: layers and rows that it crosses.
    """

    source: str
    target: str
    id: int
    label: str
    optional: bool
    via: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A network to draw.

    Attributes:
        name: the network's name.
        title: what the user wants above the picture instead; None: nothing.
        by: what colours stand for.
        boxes: by job id.
        arrows: in the order of the pipes' ids.
        open_ends: keys of open ends -> layer and row.
    """

    name: str
    title: str | None
    by: By
    boxes: Mapping[int, Box]
    arrows: Sequence[Arrow]
    open_ends: Mapping[str, tuple[int, int]]

    @property
    def heading(self) -> str:
        """The title, or else the network's name."""
        return self.name if self.title is None else self.title

    @property
    def groups(self) -> dict[str, list[Box]]:
        """What colours stand for -> its jobs, sorted; without the jobs that have no place."""
        groups: dict[str, list[Box]] = {}
        for box in self.boxes.values():
            groups.setdefault(self.group(box), []).append(box)
        groups.pop("", None)
        return dict(sorted(groups.items()))

    def group(self, box: Box) -> str:
        """Return what a box's colour stands for; empty if the job has no place."""
        return box.node if self.by == "node" else box.kind

    def colour(self, group: str) -> str:
        """Return the fill colour of a group's jobs."""
        return COLOURS[list(self.groups).index(group) % len(COLOURS)] if group else UNPLACED

    def cells(self) -> dict[str, tuple[int, int]]:
        """Return the layer and row of each box and open end, by key."""
        return {box.key: (box.layer, box.row) for box in self.boxes.values()} | dict(self.open_ends)


def picture_of(network: Network, nodes: Mapping[int, str] | None = None, options: PictureOptions | None = None) -> Picture:
    """Return the picture of a network.

    Args:
        network: may be incomplete.
        nodes: job id -> name of its present node.
        options: what the user has chosen.
    """
    options = options or PictureOptions()
    layers = _layers(network)
    rows, ways = _rows(network, layers)
    boxes = {
        number: Box(
            f"job_{number}",
            job._fission_name,
            type(job).__name__,
            "LOCAL" in group_names(job.GROUPS),
            (nodes or {}).get(number, ""),
            layers[number],
            rows[number],
        )
        for number, job in network.jobs.items()
    }
    cells = [*zip(layers.values(), (rows[number] for number in layers), strict=True), *(cell for way in ways.values() for cell in way)]
    arrows: list[Arrow] = []
    open_ends: dict[str, tuple[int, int]] = {}
    for number, pipe in network.pipes.items():
        producer, consumer = network.producer(number), network.consumer(number)
        keys = []
        for job, there in ((producer, -1), (consumer, 1)):
            if job is None:
                other = consumer or producer
                layer = max(0, layers[other._fission_id] + there) if other is not None else 0
                taken = [row for at, row in (*cells, *open_ends.values()) if at == layer]
                key = f"open_{number}" if there == 1 or producer is not None else f"open_{number}_in"
                open_ends[key] = (layer, max(taken, default=-1) + 1)
                keys.append(key)
            else:
                keys.append(f"job_{job._fission_id}")
        label = f"{number} {type(pipe).__name__}" if options.pipe_class else str(number)
        arrows.append(Arrow(keys[0], keys[1], number, label, bool(pipe.ASYNC), ways.get(number, ())))
    return Picture(network.name, options.title, options.by, boxes, tuple(arrows), open_ends)


def _layers(network: Network) -> dict[int, int]:
    """Return job -> layer: one after the last of the jobs that it waits for."""
    layers = dict.fromkeys(network.jobs, 0)
    for _ in range(len(network.jobs)):  # the limit ends a cycle, which is a fault
        changed = False
        for number, pipe in network.pipes.items():
            producer, consumer = network.producer(number), network.consumer(number)
            if pipe.ASYNC or producer is None or consumer is None or layers[consumer._fission_id] > layers[producer._fission_id]:
                continue
            if layers[producer._fission_id] + 1 < len(layers):
                layers[consumer._fission_id] = layers[producer._fission_id] + 1
                changed = True
        if not changed:
            break
    # a job that only feeds optional pipes is one layer before its reader
    for job in network.jobs.values():
        readers = [reader for pipe in job.outputs if (reader := network.consumer(pipe.id)) is not None]
        if not job.inputs and readers and all(pipe.ASYNC for pipe in job.outputs):
            layers[job._fission_id] = max(0, min(layers[reader._fission_id] for reader in readers) - 1)
    return layers


def _rows(network: Network, layers: Mapping[int, int]) -> tuple[dict[int, int], dict[int, tuple[tuple[int, int], ...]]]:
    """Return job -> row in its layer, near the jobs that feed it; and pipe -> the cells that it
    crosses.
    """
    rows: dict[int, int] = {}
    ways: dict[int, list[tuple[int, int]]] = {}
    ends = {pipe: (network.producer(pipe), network.consumer(pipe)) for pipe in network.pipes}
    spans = {
        pipe: (layers[producer._fission_id], layers[consumer._fission_id])
        for pipe, (producer, consumer) in ends.items()
        if producer is not None and consumer is not None
    }

    def before(pipe: int) -> float:
        producer = ends[pipe][0]
        return float(ways[pipe][-1][1] if pipe in ways else rows.get(producer._fission_id, 0) if producer is not None else 0)

    for layer in sorted(set(layers.values())):
        passing = [(before(pipe), 1, pipe) for pipe, (first, last) in spans.items() if first < layer < last]
        jobs = []
        for number in (number for number in layers if layers[number] == layer):
            feeds = [before(pipe.id) for pipe in network.jobs[number].inputs if pipe.id in spans and spans[pipe.id][0] < layer]
            jobs.append((sum(feeds) / len(feeds) if feeds else 0.0, 0, number))
        for row, (_, is_pipe, number) in enumerate(sorted(passing + jobs)):
            if is_pipe:
                ways.setdefault(number, []).append((layer, row))
            else:
                rows[number] = row
    return rows, {pipe: tuple(cells) for pipe, cells in ways.items()}
