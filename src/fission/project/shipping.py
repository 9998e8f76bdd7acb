"""What goes with a job to where it runs: the job itself, pickled, and its DEPENDENCIES, copied into its folder."""

from __future__ import annotations

import os
import pickle
import shlex
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from fission.core.base import BaseJob
from fission.core.jobs import ExecutableJob
from fission.errors import DefinitionError, Fault


def shipping_faults(job: BaseJob, root: Path, *, here: bool) -> list[Fault]:
    """Return everything that would keep the job from being sent off: its dependencies, its executable, what cannot be pickled.

    Args:
        job: whose.
        root: the project's folder; relative paths begin there.
        here: whether it will run on this machine, so that an executable must be on PATH here and not only on a node.
    """
    texts = _dependency_faults(job, root)
    if not texts and isinstance(job, ExecutableJob):
        texts += _executable_faults(job, root, here or "LOCAL" in job.GROUPS)
    texts += _pickle_faults(job)
    return [Fault(f"{job.name}: {text}", job.created_at) for text in texts]


def pickled(job: BaseJob) -> bytes:
    """Return the job as it is sent to its process.

    Raises:
        DefinitionError: something of it cannot be pickled; the text names the attribute.
    """
    faults = _pickle_faults(job)
    if faults:
        raise DefinitionError("\n".join(f"{job.name}: {text}" for text in faults))
    return pickle.dumps(job, 5)


def copy_dependencies(job: BaseJob, root: Path, folder: Path) -> None:
    """Copy the contents of the directory among the job's DEPENDENCIES, if there is one, into its folder, which exists."""
    directory = _directory(job, root)
    if directory is not None:
        shutil.copytree(directory, folder, dirs_exist_ok=True, symlinks=True)


def _entries(job: BaseJob) -> list[Any]:
    listed = job.DEPENDENCIES
    if listed is None:
        return []
    return list(listed) if isinstance(listed, (list, tuple)) else [listed]


def _directory(job: BaseJob, root: Path) -> Path | None:
    return next((root / entry for entry in _entries(job) if isinstance(entry, (str, os.PathLike)) and str(entry)), None)


def _dependency_faults(job: BaseJob, root: Path) -> list[str]:
    faults = []
    directories = 0
    for entry in _entries(job):
        if isinstance(entry, ModuleType):
            continue
        if not isinstance(entry, (str, os.PathLike)):
            faults.append(f"DEPENDENCIES must be a directory, modules, or a list of them; {entry!r} is a {type(entry).__name__}")
        elif str(entry):
            directories += 1
            if not (root / entry).is_dir():
                what = "a file" if (root / entry).exists() else "not there"
                faults.append(f"DEPENDENCIES: {str(entry)!r} must be a directory of the project ({root}); it is {what}")
    if directories > 1:
        faults.append(f"DEPENDENCIES may have one directory at most; it has {directories}: put them below one")
    return faults


def _executable_faults(job: ExecutableJob, root: Path, here: bool) -> list[str]:
    try:
        command = shlex.split(job.EXECUTABLE or "")
        shlex.split(job.PARAMETERS or "")
    except ValueError as why:
        return [f"EXECUTABLE and PARAMETERS must be as in a shell; {why}"]
    if not command:
        return []  # that EXECUTABLE is missing is a fault of the network
    name, directory = command[0], _directory(job, root)
    if "/" not in name:
        if not here or shutil.which(name):
            return []
        in_folder = directory is not None and (directory / name).exists()
        return [f"EXECUTABLE {name!r} is not on PATH" + (f"; it is in the job's DEPENDENCIES: write './{name}'" if in_folder else "")]
    path = Path(name) if os.path.isabs(name) else (directory or Path()) / name
    if directory is None and not os.path.isabs(name):
        return [f"EXECUTABLE {name!r} is looked for in the job's folder; name the directory that has it in DEPENDENCIES"]
    if not path.is_file():
        return [f"EXECUTABLE {name!r} is missing: there is no file {path}"]
    if not os.access(path, os.X_OK):
        return [f"EXECUTABLE {name!r} is not executable; run: chmod +x {path}"]
    return []


def _pickle_faults(job: BaseJob) -> list[str]:
    try:
        pickle.dumps(job, 5)
    except Exception as why:  # pickling runs the user's __reduce__ and __getstate__, which may raise anything
        for name, value in job.__getstate__().items():
            try:
                pickle.dumps(value, 5)
            except Exception as reason:
                return [
                    f"its attribute {name} ({type(value).__name__}) cannot be sent to the job's process: {reason}; "
                    "make it in setup, which runs there, not in __init__"
                ]
        return [f"it cannot be sent to its process: {why}"]
    return []
