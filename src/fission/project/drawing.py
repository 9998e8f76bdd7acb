"""A network as a picture: its elements, their layout, and text in several formats.

Does not draw on a screen.

The layout has layers from left to right: a job is one layer after the last of the jobs that it
waits for. Within a layer jobs are near those that they are joined to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from fission.core.base import group_names
from fission.core.network import Network

#: Fill colours of jobs by node: light enough for dark text, distinguishable without red and green alone. Arbitrary.
COLOURS = ("#cfe2ff", "#ffe0b3", "#d1f0d1", "#f3d1f0", "#fff3b0", "#cceeee", "#e3d5ca", "#d6d6f5")
UNPLACED = "#ffffff"
#: Size of a job's box and the space between boxes, in pixels; arbitrary.
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN, OPEN = 150, 44, 130, 30, 30, 12


@dataclass(frozen=True, slots=True)
class Box:
    """A job in the picture.

    Attributes:
        key: its identifier in the picture's text.
        name: the job's name.
        local: whether it runs on the client.
        node: its present node; empty if the network is not running, or the job has no place.
        layer, row: its position.
    """

    key: str
    name: str
    local: bool
    node: str
    layer: int
    row: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """A pipe in the picture; the key of an open end is "open_" and the pipe's id.

    ``via``: cells that it crosses.
    """

    source: str
    target: str
    id: int
    kind: str
    optional: bool
    via: tuple[tuple[int, int], ...] = ()

    @property
    def label(self) -> str:
        """Id and class."""
        return f"{self.id} {self.kind}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A network to draw.

    Attributes:
        name: the network's name.
        boxes: by job id.
        arrows: in the order of the pipes' ids.
        open_ends: keys of open ends -> layer and row.
    """

    name: str
    boxes: Mapping[int, Box]
    arrows: Sequence[Arrow]
    open_ends: Mapping[str, tuple[int, int]]

    @property
    def nodes(self) -> list[str]:
        """The names of all nodes with jobs, sorted."""
        return sorted({box.node for box in self.boxes.values() if box.node})

    def colour(self, node: str) -> str:
        """Return the fill colour of a node's jobs."""
        return COLOURS[self.nodes.index(node) % len(COLOURS)] if node else UNPLACED

    def places(self) -> dict[str, tuple[int, int]]:
        """Return the middle of each box and open end, in pixels, by key."""
        return {key: self._place(*cell) for key, cell in self._cells().items()}

    def points(self, arrow: Arrow) -> list[tuple[int, int]]:
        """Return the points of an arrow, in pixels: from the edge of one box to the edge of the
        other.
        """
        places = self.places()
        (x1, y1), (x2, y2) = places[arrow.source], places[arrow.target]
        x1 += WIDTH // 2 if arrow.source.startswith("job_") else OPEN
        x2 -= WIDTH // 2 if arrow.target.startswith("job_") else OPEN
        return [(x1, y1), *(self._place(*cell) for cell in arrow.via), (x2, y2)]

    def size(self) -> tuple[int, int]:
        """Return width and height, in pixels."""
        points = [self._place(layer, row) for layer, row in self._all_cells()]
        width = max((x for x, _ in points), default=0) + WIDTH // 2 + MARGIN
        return width, max((y for _, y in points), default=0) + HEIGHT // 2 + MARGIN

    def _cells(self) -> dict[str, tuple[int, int]]:
        return {box.key: (box.layer, box.row) for box in self.boxes.values()} | dict(self.open_ends)

    def _all_cells(self) -> list[tuple[int, int]]:
        return [*self._cells().values(), *(cell for arrow in self.arrows for cell in arrow.via)]

    def _place(self, layer: int, row: int) -> tuple[int, int]:
        cells, step = self._all_cells(), HEIGHT + DOWN
        most = max(number for _, number in cells)
        own = max(number for other, number in cells if other == layer)
        return MARGIN + WIDTH // 2 + layer * (WIDTH + ACROSS), MARGIN + HEIGHT // 2 + row * step + (most - own) * step // 2


def picture_of(network: Network, nodes: Mapping[int, str] | None = None) -> Picture:
    """Return the picture of a network.

    Args:
        network: may be incomplete.
        nodes: job id -> name of its present node.
    """
    layers = _layers(network)
    rows, ways = _rows(network, layers)
    boxes = {
        number: Box(
            f"job_{number}",
            job._fission_name,
            "LOCAL" in group_names(job.GROUPS),
            (nodes or {}).get(number, ""),
            layers[number],
            rows[number],
        )
        for number, job in network.jobs.items()
    }
    arrows: list[Arrow] = []
    open_ends: dict[str, tuple[int, int]] = {}
    for number, pipe in network.pipes.items():
        producer, consumer = network.producer(number), network.consumer(number)
        keys = []
        for job, there in ((producer, -1), (consumer, 1)):
            if job is None:
                other = consumer or producer
                layer = max(0, layers[other._fission_id] + there) if other is not None else 0
                taken = [box.row for box in boxes.values() if box.layer == layer] + [row for at, row in open_ends.values() if at == layer]
                key = f"open_{number}" if there == 1 or producer is not None else f"open_{number}_in"
                open_ends[key] = (layer, max(taken, default=-1) + 1)
                keys.append(key)
            else:
                keys.append(f"job_{job._fission_id}")
        arrows.append(Arrow(keys[0], keys[1], number, type(pipe).__name__, bool(pipe.ASYNC), ways.get(number, ())))
    return Picture(network.name, boxes, tuple(arrows), open_ends)


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


# as text


def mermaid(picture: Picture) -> str:
    """Return the picture for Mermaid: the network's and the local jobs in groups, optional pipes
    dotted.
    """
    lines = ["graph LR"]
    for title, local in (("network", False), ("locals", True)):
        boxes = [box for box in picture.boxes.values() if box.local == local]
        if boxes:
            lines += [f"  subgraph {title}", *(f"    {box.key.removeprefix('job_')}({_mermaid_name(box)})" for box in boxes), "  end"]
    for key in picture.open_ends:
        lines.append(f"  {key}((?))")
    for arrow in picture.arrows:
        source, target = arrow.source.removeprefix("job_"), arrow.target.removeprefix("job_")
        lines.append(f"  {source} {'-.->' if arrow.optional else '-->'}|{arrow.label}| {target}")
    for node in picture.nodes:
        keys = ",".join(box.key.removeprefix("job_") for box in picture.boxes.values() if box.node == node)
        lines.append(f"  style {keys} fill:{picture.colour(node)}" if "," not in keys else _mermaid_class(picture, node, keys))
    return "\n".join(lines) + "\n"


def _mermaid_name(box: Box) -> str:
    return f"{box.name} @ {box.node}" if box.node else box.name


def _mermaid_class(picture: Picture, node: str, keys: str) -> str:
    name = f"node{picture.nodes.index(node)}"
    return f"  classDef {name} fill:{picture.colour(node)}\n  class {keys} {name}"


def dot(picture: Picture, *, by_node: bool = False) -> str:
    """Return the picture for graphviz.

    Args:
        picture: of the network.
        by_node: whether to draw a frame for each node with its jobs, instead of one for all local
            jobs.
    """
    lines = [f"digraph {_quoted(picture.name)} {{", "  rankdir=LR", '  node [shape=box style="rounded,filled" fillcolor=white]']
    if by_node:
        frames = [(node or "no place", [box for box in picture.boxes.values() if box.node == node]) for node in (*picture.nodes, "")]
    else:
        frames = [(title, [box for box in picture.boxes.values() if box.local == (title == "locals")]) for title in ("network", "locals")]
    for number, (title, boxes) in enumerate(frames):
        if boxes:
            lines += [f"  subgraph cluster_{number if by_node else title} {{", f"    label={_quoted(title)} style=dashed"]
            lines += [f"    {box.key} [label={_quoted(_label(box))} fillcolor={_quoted(picture.colour(box.node))}]" for box in boxes]
            lines += ["  }"]
    lines += [f'  {key} [label="?" shape=circle]' for key in picture.open_ends]
    for arrow in picture.arrows:
        style = " style=dashed" if arrow.optional else ""
        lines.append(f"  {arrow.source} -> {arrow.target} [label={_quoted(arrow.label)}{style}]")
    return "\n".join([*lines, "}"]) + "\n"


def _label(box: Box) -> str:
    return f"{box.name}\nnode {box.node}" if box.node else box.name


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def html(picture: Picture) -> str:
    """Return the picture as a self-contained web page: no script, no font, no network."""
    title = escape(picture.name)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; color: #222; background: #fff }}
svg text {{ font-size: 12px; fill: #222 }}
.job rect {{ stroke: #333; stroke-width: 1.2 }}
.local rect {{ stroke-dasharray: 5 3 }}
.pipe {{ fill: none; stroke: #555; stroke-width: 1.3 }}
.optional {{ stroke-dasharray: 4 3 }}
</style>
</head>
<body>
<h1>{title}</h1>
{svg(picture)}
<p>Dashed boxes: local jobs, which run on the client. Dashed arrows: optional pipes.{_legend(picture)}</p>
</body>
</html>
"""


def svg(picture: Picture) -> str:
    """Return the picture as SVG, for embedding into a page."""
    places = picture.places()
    width, height = picture.size()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#555"/></marker></defs>',
    ]
    parts += [_svg_arrow(arrow, picture.points(arrow)) for arrow in picture.arrows]
    for box in picture.boxes.values():
        x, y = places[box.key]
        kind = "job local" if box.local else "job"
        parts.append(
            f'<g class="{kind}" id="{box.key}"><title>{escape(_label(box))}</title>'
            f'<rect x="{x - WIDTH // 2}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{picture.colour(box.node)}"/>'
            f'<text x="{x}" y="{y + (-2 if box.node else 4)}" text-anchor="middle">{escape(box.name)}</text>'
            + (f'<text x="{x}" y="{y + 14}" text-anchor="middle">node {escape(box.node)}</text>' if box.node else "")
            + "</g>"
        )
    for key in picture.open_ends:
        x, y = places[key]
        parts.append(
            f'<g id="{key}"><circle cx="{x}" cy="{y}" r="12" fill="#fff" stroke="#a00"/><text x="{x - 3}" y="{y + 4}">?</text></g>'
        )
    return "\n".join([*parts, "</svg>"])


def _svg_arrow(arrow: Arrow, points: Sequence[tuple[int, int]]) -> str:
    path = f"M{points[0][0]} {points[0][1]}"
    for (x1, y1), (x2, y2) in pairwise(points):
        # an arrow backwards has a wider bend
        bend = max(40, (x2 - x1) // 3) if x2 > x1 else 120
        path += f"C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    kind = "pipe optional" if arrow.optional else "pipe"
    x, y = label_at(points)
    return (
        f'<g id="pipe_{arrow.id}" data-from="{arrow.source}" data-to="{arrow.target}"><title>{escape(arrow.label)}</title>'
        f'<path class="{kind}" d="{path}" marker-end="url(#tip)"/>'
        f'<text x="{x}" y="{y}" text-anchor="middle">{escape(arrow.label)}</text></g>'
    )


def label_at(points: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the position of an arrow's label: above its middle, or above the first cell that it
    crosses.
    """
    if len(points) > 2:
        return points[1][0], points[1][1] - 6
    (x1, y1), (x2, y2) = points
    return (x1 + x2) // 2, (y1 + y2) // 2 - 4


def _legend(picture: Picture) -> str:
    if not picture.nodes:
        return ""
    entries = (f'<span style="background: {picture.colour(node)}; padding: 0 .5em">{escape(node)}</span>' for node in picture.nodes)
    return f" Colours: nodes {' '.join(entries)}"
