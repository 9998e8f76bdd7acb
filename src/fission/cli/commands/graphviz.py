"""``fission NETWORK graphviz``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli.pictures import ENGINES, open_file, picture, render
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
@click.option("--by-node", is_flag=True, help="Draw a frame around the jobs of each node: where they are, or would be with all nodes up.")
@click.pass_obj
def command(session: Session, path: Path | None, engine: str, by_node: bool) -> None:
    """Draw the network with graphviz: jobs as boxes, local jobs in a group of their own, pipes as
    arrows.

    Without --output the PDF is also shown, if there is a desktop. If the network is running,
    colours show the node of each job.
    """
    from fission.project.drawing import dot

    target = path or session.root / session.network / "network.pdf"
    render(dot(picture(session, plan=by_node), by_node=by_node), target, engine)
    click.echo(f"drew {session.network} into {target}")
    if path is None:
        open_file(target)
