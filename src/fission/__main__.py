"""``python -m fission``: the command line, also where the ``fission`` script is not on the PATH."""

from __future__ import annotations

if __name__ == "__main__":
    from fission.cli import interrupts

    interrupts.install()
    from fission.cli.main import run

    run()
