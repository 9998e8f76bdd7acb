"""``python -m fission``: the command line, also where the ``fission`` script is not on the PATH."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from fission.cli.main import run
    except KeyboardInterrupt:  # it takes a moment to load
        sys.exit(130)
    run()
