"""FISSION: networks of jobs, joined by pipes, that survive the loss of the machines they run on.

Loads nothing but the version: every submodule's import runs this file.
"""

from __future__ import annotations

__version__ = "0.1.0"
