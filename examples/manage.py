#!/usr/bin/env python3
"""Runs the commands of this FISSION project: python3 manage.py NETWORK COMMAND"""

import os
import sys


def main() -> int:
    if "--live" in sys.argv:  # for networks that can listen to microphones; their config.py reads it
        sys.argv.remove("--live")
        os.environ["LIVE"] = "yes"
    try:
        from fission.cli.main import manage
    except ModuleNotFoundError as error:
        if error.name != "fission":
            raise
        print("FISSION is not installed for this Python; activate the virtual environment that contains it", file=sys.stderr)
        return 1
    return manage(__file__)


if __name__ == "__main__":
    sys.exit(main())
