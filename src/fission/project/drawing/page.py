"""A picture as SVG, and as a web page."""

from __future__ import annotations

from html import escape

from fission.project.drawing.layout import MARGIN, OPEN, ArrowPath, Layout
from fission.project.drawing.picture import Box, Picture

#: Height of the heading, in pixels; arbitrary.
TITLE = 36
#: Labels have an outline of the page's colour, so that a line behind one does not cross its letters.
STYLE = """\
svg text { font: 12px sans-serif; fill: #222 }
svg .heading { font-size: 18px; font-weight: bold }
svg .label { font-size: 10px; text-anchor: end; paint-order: stroke; stroke: #fff; stroke-width: 3px }
.job text, .open text { text-anchor: middle }
.job rect { stroke: #333; stroke-width: 1.2 }
.local rect { stroke-dasharray: 5 3 }
.open circle { fill: #fff; stroke: #a00 }
.pipe { fill: none; stroke: #555; stroke-width: 1.3; stroke-linejoin: round }
.optional { stroke-dasharray: 4 3 }
"""


def html(picture: Picture) -> str:
    """Return the picture as a self-contained web page: no script, no font, no network.

    It is never wider than the window.
    """
    title = escape(picture.heading)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; color: #222; background: #fff }}
svg {{ max-width: 100%; height: auto }}
</style>
</head>
<body>
<h1>{title}</h1>
{svg(picture, titled=False)}<p>Dashed boxes: local jobs, which run on the client. Dashed arrows: optional pipes.{_legend(picture)}</p>
</body>
</html>
"""


def svg(picture: Picture, *, titled: bool = True) -> str:
    """Return the picture as an SVG file, or as a part of a page.

    Args:
        picture: of the network.
        titled: whether the heading is above it.
    """
    layout, above = Layout(picture), TITLE if titled else 0
    size = f'viewBox="0 {-above} {layout.width} {layout.height + above}" width="{layout.width}" height="{layout.height + above}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(picture.heading)}">',
        f"<style>\n{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#555"/></marker></defs>',
    ]
    if titled:
        parts.append(f'<text class="heading" x="{MARGIN}" y="-10">{escape(picture.heading)}</text>')
    routes = [(arrow, layout.route(arrow)) for arrow in picture.arrows]
    for arrow, route in routes:
        kind = "pipe optional" if arrow.optional else "pipe"
        x, y = route.label
        parts.append(
            f'<g id="pipe_{arrow.id}" data-from="{arrow.source}" data-to="{arrow.target}"><title>{escape(arrow.label)}</title>'
            f'<path class="{kind}" d="{_path(route)}" marker-end="url(#tip)"/>'
            f'<text class="label" x="{x}" y="{y}">{escape(arrow.label)}</text></g>'
        )
    parts += [_job(box, picture, layout) for box in picture.boxes.values()]
    for key in picture.open_ends:
        x, y = layout.middle(key)
        parts.append(f'<g class="open" id="{key}"><circle cx="{x}" cy="{y}" r="{OPEN}"/><text x="{x}" y="{y + 4}">?</text></g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _job(box: Box, picture: Picture, layout: Layout) -> str:
    left, top, width, height = layout.box(box.key)
    x, y = layout.middle(box.key)
    first = y + 4 - 8 * (len(box.lines) - 1)
    texts = "".join(f'<text x="{x}" y="{first + 16 * number}">{escape(line)}</text>' for number, line in enumerate(box.lines))
    return (
        f'<g class="{"job local" if box.local else "job"}" id="{box.key}"><title>{escape(chr(10).join(box.lines))}</title>'
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="{picture.colour(picture.group(box))}"/>{texts}</g>'
    )


def _path(route: ArrowPath) -> str:
    text = f"M{route.start[0]} {route.start[1]}"
    for points in route.steps:
        text += ("C" if len(points) == 3 else "L") + " ".join(f"{x} {y}" for x, y in points)
    return text


def _legend(picture: Picture) -> str:
    if not picture.groups:
        return ""
    entries = (f'<span style="background: {picture.colour(group)}; padding: 0 .5em">{escape(group)}</span>' for group in picture.groups)
    return f" Colours: {'nodes' if picture.by == 'node' else 'classes'} {' '.join(entries)}"
