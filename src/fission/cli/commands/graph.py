"""``fission NETWORK graph``."""

from __future__ import annotations

import click

from fission.cli.pictures import picture, picture_options
from fission.cli.table import Session, example


@click.command(
    name="graph",
    epilog=example(
        "fission my_network graph", "fission my_network graph --format html > my_network.html", "fission my_network graph --format dot"
    ),
)
@click.option("--format", "kind", type=click.Choice(["mermaid", "dot", "html", "svg"]), default="mermaid", help="Default: mermaid.")
@picture_options
@click.pass_obj
def command(session: Session, kind: str, title: str | None, pipe_class: bool, by: str | None) -> None:
    """Write the network as a graph to standard output: for Mermaid, for graphviz, as a
    self-contained web page, or as SVG.

    If the network is running, colours show the node of each job. Incomplete networks are drawn too,
    with question marks.
    """
    from fission.project import drawing

    drawn = picture(session, title=title, pipe_class=pipe_class, by=by)
    text = {"mermaid": drawing.mermaid, "dot": drawing.dot, "html": drawing.html, "svg": drawing.svg}[kind](drawn)
    click.echo(text, nl=False)
