"""Lets `import pypelinin` find FISSION's package of this name, also where the older one is installed.

Python runs this file when it starts, because of ``fission_networks_pypelinin.pth`` beside this
folder. The package lies in a folder of its own, so that neither installation overwrites files of the
other.
"""

import os
import sys

__all__: list[str] = []


def _lead(path: list[str], site: str, names: str) -> None:
    """Move a folder in a search path to the place before another one, or add it there."""
    if site in path:
        path[:] = [entry for entry in path if entry != names]
        path.insert(path.index(site), names)


_here = os.path.dirname(os.path.abspath(__file__))
_lead(sys.path, os.path.dirname(_here), os.path.join(_here, "names"))
