"""A picture as text: for Mermaid and for graphviz."""

from __future__ import annotations

import json

from fission.project.drawing.layout import Layout
from fission.project.drawing.picture import Box, Picture


def mermaid(picture: Picture) -> str:
    """Return the picture for Mermaid: the network's and the local jobs in groups, optional pipes
    dotted.
    """
    lines = ["graph LR"]
    if picture.title is not None:
        lines = ["---", f"title: {json.dumps(picture.title)}", "---", *lines]  # JSON is YAML
    for title, local in (("network", False), ("locals", True)):
        boxes = [box for box in picture.boxes.values() if box.local == local]
        if boxes:
            lines += [f"  subgraph {title}", *(f"    {box.key.removeprefix('job_')}({_mermaid_name(box)})" for box in boxes), "  end"]
    for key in picture.open_ends:
        lines.append(f"  {key}((?))")
    for arrow in picture.arrows:
        source, target = arrow.source.removeprefix("job_"), arrow.target.removeprefix("job_")
        lines.append(f"  {source} {'-.->' if arrow.optional else '-->'}|{arrow.label}| {target}")
    for number, (group, boxes) in enumerate(picture.groups.items()):
        keys = ",".join(box.key.removeprefix("job_") for box in boxes)
        fill = f"fill:{picture.colour(group)}"
        lines.append(f"  style {keys} {fill}" if len(boxes) == 1 else f"  classDef node{number} {fill}\n  class {keys} node{number}")
    return "\n".join(lines) + "\n"


def _mermaid_name(box: Box) -> str:
    return f"{box.name} @ {box.node}" if box.node else box.name


def dot(picture: Picture, *, framed: bool = False) -> str:
    """Return the picture for graphviz. A long chain is folded as in `Layout`.

    Args:
        picture: of the network.
        framed: whether to draw a frame for each group of the picture, instead of one for all local
            jobs.
    """
    lines = [f"digraph {_quoted(picture.name)} {{", "  rankdir=LR", '  node [shape=box style="rounded,filled" fillcolor=white]']
    if picture.title is not None:
        lines += [f"  label={_quoted(picture.title)} labelloc=t"]
    if framed:
        placed = list(picture.groups.items())
        frames = [*placed, ("no place", [box for box in picture.boxes.values() if not picture.group(box)])]
    else:
        frames = [(title, [box for box in picture.boxes.values() if box.local == (title == "locals")]) for title in ("network", "locals")]
    for number, (title, boxes) in enumerate(frames):
        if boxes:
            lines += [f"  subgraph cluster_{number if framed else title} {{", f"    label={_quoted(title)} style=dashed"]
            for box in boxes:
                colour = _quoted(picture.colour(picture.group(box)))
                lines += [f"    {box.key} [label={_quoted(chr(10).join(box.lines))} fillcolor={colour}]"]
            lines += ["  }"]
    lines += [f'  {key} [label="?" shape=circle]' for key in picture.open_ends]
    layout, cells = Layout(picture), picture.cells()
    for arrow in picture.arrows:
        style = " style=dashed" if arrow.optional else ""
        # the job does not have to be right of the one before: dot begins again at the left
        folded = layout.band(cells[arrow.source][0]) != layout.band(cells[arrow.target][0])
        lines.append(f"  {arrow.source} -> {arrow.target} [label={_quoted(arrow.label)}{style}{' constraint=false' if folded else ''}]")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
