#!/usr/bin/env python3
"""Runs the networks that the benchmarks measure."""

import sys

from fission.cli.main import manage

if __name__ == "__main__":
    sys.exit(manage(__file__))
