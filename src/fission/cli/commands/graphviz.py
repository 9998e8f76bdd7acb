"""``fission NETWORK graphviz``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli.pictures import open_file, picture, render
from fission.cli.table import Session, example


@click.command(name="graphviz", epilog=example("fission my_network graphviz", "fission my_network graphviz --output my_network.svg"))
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .pdf, .svg or .png. Default: NETWORK.pdf in the network's folder.",
)
@click.pass_obj
def command(session: Session, path: Path | None) -> None:
    """Draw the network with graphviz: jobs as boxes, the local ones apart, pipes as arrows.

    Without --output the PDF is shown, too, where there is a desktop. If the network runs here, the colours tell on which node each job is.
    """
    from fission.project.drawing import dot

    target = path or session.root / session.network / f"{session.network}.pdf"
    render(dot(picture(session)), target)
    click.echo(f"drew {session.network} into {target}")
    if path is None:
        open_file(target)
