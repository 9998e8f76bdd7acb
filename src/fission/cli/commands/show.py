"""``fission NETWORK show``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click

from fission.cli.pictures import desktop, picture, picture_options
from fission.cli.table import Session, example
from fission.errors import UserError

#: Pixels per inch of the drawing, as in browsers.
DPI = 96
#: Height of the title; arbitrary.
TITLE_INCHES = 0.4


@click.command(name="show", epilog=example("fission my_network show", "fission my_network show --output my_network.png"))
@click.option(
    "--output", "path", type=click.Path(path_type=Path), metavar="FILE", help="Draw into a .pdf, .svg or .png file, without a window."
)
@picture_options
@click.pass_obj
def command(session: Session, path: Path | None, title: str | None, pipe_class: bool, by: str | None) -> None:
    """Draw the network with matplotlib, in a window or into a file.

    If the network is running, colours show the node of each job.
    """
    require_matplotlib()
    if path is None and not desktop():
        raise UserError(f"there is no desktop to open a window on; draw into a file: fission {session.network} show --output FILE.pdf")
    if path is not None and path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise UserError(f"the picture must be a .pdf, .svg or .png file, but is {path.name!r}; choose another ending")
    drawn = picture(session, title=title, pipe_class=pipe_class, by=by)
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
    from matplotlib.path import Path as Way

    from fission.project.drawing import Layout

    layout = Layout(drawn)
    # constrained: the title is above the axes
    figure, axes = pyplot.subplots(figsize=(layout.width / DPI, layout.height / DPI + TITLE_INCHES), layout="constrained")
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.axis("off")
    axes.set_title(drawn.heading)
    for arrow in drawn.arrows:
        route = layout.route(arrow)
        points, codes = [route.start], [Way.MOVETO]
        for step in route.steps:
            points += step
            codes += [Way.CURVE4] * 3 if len(step) == 3 else [Way.LINETO]
        line = "dashed" if arrow.optional else "solid"
        tip = FancyArrowPatch(
            path=Way(points, codes), arrowstyle="-|>", mutation_scale=12, linestyle=line, edgecolor="#555", facecolor="#555",
            shrinkA=0, shrinkB=0, gid=f"pipe_{arrow.id}",
        )  # fmt: skip
        axes.add_patch(tip)
        axes.text(*route.label, arrow.label, ha="right", va="bottom", fontsize=7)
    for box in drawn.boxes.values():
        left, top, width, height = layout.box(box.key)
        shape = FancyBboxPatch(
            (left, top), width, height, boxstyle="round,pad=0,rounding_size=8", linestyle="dashed" if box.local else "solid",
            facecolor=drawn.colour(drawn.group(box)), edgecolor="#333", gid=box.key,
        )  # fmt: skip
        axes.add_patch(shape)
        axes.text(*layout.middle(box.key), "\n".join(box.lines), ha="center", va="center", fontsize=8)
    for key in drawn.open_ends:
        axes.text(
            *layout.middle(key), "?", ha="center", va="center", fontsize=9, gid=key,
            bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": "#a00"},
        )  # fmt: skip
    return figure
