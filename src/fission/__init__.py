"""FISSION: networks of jobs, joined by pipes, that survive the loss of the machines they run on.

Loads nothing but the version: every submodule's import runs this file.

PYTEST_DONT_REWRITE: with this word here pytest does not warn that it came too late to rewrite the
asserts of a package that was imported before it, as by `fission NETWORK test`. There are none.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
