"""MARVELO's functions that draw a network; the commands ``graphviz`` and ``show`` do the same, and more.

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
from fission.client.run.survival import planned
from fission.core.network import Network
from fission.errors import UserError
from fission.project.drawing import dot, picture_of

__all__ = ["generate_detailed_graph", "generate_job_graph", "show_job_graph"]

#: Engines of graphviz that MARVELO used: for jobs, and for jobs in nodes.
JOBS_ENGINE, NODES_ENGINE = "circo", "fdp"
#: Where the picture by nodes goes, in the current folder.
DETAILED = "temp_network.pdf"


def generate_job_graph(network: Network, path: str | Path) -> None:
    """Draw a network's jobs and pipes with graphviz, and show the file where there is a desktop.

    Args:
        network: it may be incomplete.
        path: of the PDF, without its ending.

    Raises:
        UserError: graphviz is not installed, or the file cannot be written.
    """
    target = Path(f"{path}.pdf")
    render(dot(picture_of(network)), target, JOBS_ENGINE)
    open_file(target)


def generate_detailed_graph(network: Network, nodes: Mapping[int, str] | None = None) -> None:
    """Draw a network's jobs in frames, one for each node, into ``temp_network.pdf`` in the current folder; show it if there is a desktop.

    Args:
        network: of the project that is the current folder.
        nodes: job id -> name of its node; None: where the jobs run now, and if the network is not running, where they go when all of its
            nodes are there.

    Raises:
        UserError: graphviz is not installed, or the file cannot be written.
    """
    if nodes is None:
        nodes = placement(Path.cwd() / network.name) or planned(network)
    target = Path(DETAILED)
    render(dot(picture_of(network, nodes), by_node=True), target, NODES_ENGINE)
    open_file(target)


def show_job_graph(network: Network) -> None:
    """Draw a network with matplotlib in a window. Blocks until it is closed.

    Raises:
        UserError: matplotlib is not installed, or there is no desktop.
    """
    from fission.cli.commands.show import draw, require_matplotlib

    require_matplotlib()
    if not desktop():
        raise UserError(f"there is no desktop here to open a window on; draw into a file: fission {network.name} show --output FILE.pdf")
    from matplotlib import pyplot

    draw(picture_of(network), pyplot)
    pyplot.show()
