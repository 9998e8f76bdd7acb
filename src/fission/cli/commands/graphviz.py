"""``fission NETWORK graphviz``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli.pictures import ENGINES, open_file, picture, picture_options, render
from fission.cli.table import Session, example


@click.command(
    name="graphviz", epilog=example("fission my_network graphviz", "fission my_network graphviz --engine circo --output my_network.svg")
)
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .pdf, .svg or .png. Default: NETWORK/network.pdf.",
)
@click.option(
    "--engine", type=click.Choice(ENGINES), default=ENGINES[0], show_default=True, help="Layout program of graphviz. MARVELO: circo."
)
@click.option("--by-node", is_flag=True, help="The same as --by node.")
@picture_options
@click.pass_obj
def command(session: Session, path: Path | None, engine: str, by_node: bool, title: str | None, pipe_class: bool, by: str | None) -> None:
    """Draw the network with graphviz: jobs as boxes, local jobs in a group of their own, pipes as
    arrows.

    --by draws a frame around the jobs of each node (where they are, or would be with all nodes up),
    or around the jobs of each class.

    Without --output the PDF is also shown, if there is a desktop. If the network is running,
    colours show the node of each job.
    """
    from fission.project.drawing import dot

    target = path or session.root / session.network / "network.pdf"
    by = "node" if by_node else by
    drawn = picture(session, title=title, pipe_class=pipe_class, by=by, plan=by == "node")
    render(dot(drawn, framed=by is not None), target, engine)
    click.echo(f"drew {session.network} into {target}")
    if path is None:
        open_file(target)
