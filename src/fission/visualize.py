"""MARVELO's functions that draw a network; the commands ``graphviz`` and ``show`` have more
options.

```
fission my_network interactive
>>> from fission.visualize import generate_detailed_graph
>>> generate_detailed_graph(network)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fission.cli.pictures import desktop, open_file, render
from fission.client.attach.follow import placement
from fission.client.dry_run.survival import planned
from fission.core.network import Network
from fission.errors import UserError
from fission.project.drawing import dot, picture_of

__all__ = ["generate_detailed_graph", "generate_job_graph", "show_job_graph"]

#: MARVELO's layout programs of graphviz: for jobs, and for jobs in nodes.
JOBS_ENGINE, NODES_ENGINE = "circo", "fdp"
#: File of the picture by nodes, in the current folder.
DETAILED = "temp_network.pdf"


def generate_job_graph(network: Network, path: str | Path) -> None:
    """Draw a network's jobs and pipes with graphviz, and show the file if there is a desktop.

    Args:
        network: may be incomplete.
        path: path of the PDF, without its ending.

    Raises:
        UserError: graphviz is not installed, or the file cannot be written.
    """
    target = Path(f"{path}.pdf")
    render(dot(picture_of(network)), target, JOBS_ENGINE)
    open_file(target)


def generate_detailed_graph(network: Network, nodes: Mapping[int, str] | None = None) -> None:
    """Draw a network's jobs in a frame for each node, into ``temp_network.pdf`` in the current
    folder, and show it.

    Args:
        network: a network of the project in the current folder.
        nodes: job id -> name of its node; None: the present nodes of the jobs, or if the network is
            not running, the nodes that they would get with all nodes up.

    Raises:
        UserError: graphviz is not installed, or the file cannot be written.
    """
    if nodes is None:
        nodes = placement(Path.cwd() / network.name) or planned(network)
    target = Path(DETAILED)
    render(dot(picture_of(network, nodes), framed=True), target, NODES_ENGINE)
    open_file(target)


def show_job_graph(network: Network) -> None:
    """Draw a network with matplotlib in a window. Blocks until the window is closed.

    Raises:
        UserError: matplotlib is not installed, or there is no desktop.
    """
    from fission.cli.commands.show import draw, require_matplotlib

    require_matplotlib()
    if not desktop():
        raise UserError(f"there is no desktop to open a window on; draw into a file: fission {network.name} show --output FILE.pdf")
    from matplotlib import pyplot

    draw(picture_of(network), pyplot)
    pyplot.show()
