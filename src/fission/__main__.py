"""``python -m fission``: the command line, also where the ``fission`` script is not on the PATH."""

from __future__ import annotations

from fission.cli.main import run

if __name__ == "__main__":
    run()
