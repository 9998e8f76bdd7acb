"""The import of Dask in a process that is only a node, without the packages that it does not use there."""

from __future__ import annotations

import importlib
import sys

#: What Dask imports if it is installed: for arrays that are sent as results, and for pages that show
#: Dask's objects. A node has neither; they are a quarter of the memory of an idle node. Dask itself has
#: a replacement for each of them where it is not installed.
UNUSED = ("numpy", "jinja2")


def import_dask_alone() -> None:
    """Import `distributed` without `UNUSED`, which can still be imported afterwards.

    Has no effect on what is imported already.
    """
    left_out = [name for name in UNUSED if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # its import raises ModuleNotFoundError
    try:
        importlib.import_module("distributed")
    finally:
        for name in left_out:
            del sys.modules[name]
