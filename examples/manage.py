#!/usr/bin/env python3
"""Runs the commands of this FISSION project: python3 manage.py NETWORK COMMAND"""

import sys


def main() -> int:
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
