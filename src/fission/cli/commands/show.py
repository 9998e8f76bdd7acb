"""``fission NETWORK show``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click

from fission.cli.pictures import desktop, picture
from fission.cli.table import Session, example
from fission.errors import UserError

#: Pixels per inch of the drawing, as in browsers.
DPI = 96


@click.command(name="show", epilog=example("fission my_network show", "fission my_network show --output my_network.png"))
@click.option(
    "--output", "path", type=click.Path(path_type=Path), metavar="FILE", help="Draw into a .pdf, .svg or .png file, without a window."
)
@click.pass_obj
def command(session: Session, path: Path | None) -> None:
    """Draw the network with matplotlib, in a window or into a file.

    If the network is running, colours show the node of each job.
    """
    require_matplotlib()
    if path is None and not desktop():
        raise UserError(f"there is no desktop to open a window on; draw into a file: fission {session.network} show --output FILE.pdf")
    if path is not None and path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise UserError(f"the picture must be a .pdf, .svg or .png file, but is {path.name!r}; choose another ending")
    drawn = picture(session)
    import matplotlib

    if path is not None:
        matplotlib.use("agg")
        matplotlib.rcParams["svg.fonttype"] = "none"  # keep text as text
    from matplotlib import pyplot

    figure = draw(drawn, pyplot)
    if path is None:
        pyplot.show()
        return
    try:
        figure.savefig(path, dpi=DPI)
    except OSError as why:
        raise UserError(f"{path} cannot be written: {why.strerror}") from None
    finally:
        pyplot.close(figure)
    click.echo(f"drew {session.network} into {path}")


def require_matplotlib() -> None:
    """Raise UserError if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("matplotlib is not installed for this Python; install it: python3 -m pip install matplotlib")


def draw(drawn: Any, pyplot: Any) -> Any:
    """Return a figure of the picture; the keys of boxes and arrows become their gid."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    from fission.project.drawing import HEIGHT, WIDTH, label_at

    places, (width, height) = drawn.places(), drawn.size()
    figure, axes = pyplot.subplots(figsize=(width / DPI, height / DPI), layout="constrained")
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.set_title(drawn.name)
    bends: dict[tuple[str, str], int] = {}
    for arrow in drawn.arrows:
        points = drawn.points(arrow)
        number = bends[arrow.source, arrow.target] = bends.get((arrow.source, arrow.target), -1) + 1
        line, rad = "dashed" if arrow.optional else "solid", 0.12 * number if len(points) == 2 else 0
        axes.plot([x for x, _ in points[:-1]], [y for _, y in points[:-1]], linestyle=line, color="#555", linewidth=1)
        tip = FancyArrowPatch(
            points[-2], points[-1], arrowstyle="-|>", mutation_scale=12, connectionstyle=f"arc3,rad={rad}", linestyle=line, color="#555",
            shrinkA=0, shrinkB=0, gid=f"pipe_{arrow.id}",
        )  # fmt: skip
        axes.add_patch(tip)
        x, y = label_at(points)
        axes.text(x, y - 12 * number, arrow.label, ha="center", fontsize=7)
    for box in drawn.boxes.values():
        x, y = places[box.key]
        line = "dashed" if box.local else "solid"
        shape = FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=8", linestyle=line,
            facecolor=drawn.colour(box.node), edgecolor="#333", gid=box.key,
        )  # fmt: skip
        axes.add_patch(shape)
        axes.text(x, y, f"{box.name}\nnode {box.node}" if box.node else box.name, ha="center", va="center", fontsize=8)
    for key in drawn.open_ends:
        x, y = places[key]
        axes.text(
            x, y, "?", ha="center", va="center", fontsize=9, gid=key, bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": "#a00"}
        )
    return figure
