"""The data sent with a job to its process: the pickled job, and its DEPENDENCIES, copied into its
folder.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from fission.core.base import BaseJob
from fission.core.jobs import ExecutableJob
from fission.errors import DefinitionError, Fault, UserError, error_text

#: Files and folders that runs create in a network's folder, which are never copied.
RUN_FOLDERS = {"simulation", "local", "runs", "collection", "recordings", ".fission-lock"}
#: Largest number of files and folders in DEPENDENCIES. Arbitrary: copying that many takes a minute, counting them a second.
MOST_FILES = 200_000


def shipping_faults(job: BaseJob, root: Path, *, here: bool) -> list[Fault]:
    """Return the faults that prevent a job from being sent: in its dependencies, its executable, or
    pickling.

    Args:
        job: the job.
        root: the project's folder, the start of relative paths.
        here: whether it will run on this machine, so that an executable must be on PATH here.
    """
    texts = _dependency_faults(job, root)
    if not texts and isinstance(job, ExecutableJob):
        texts += _executable_faults(job, root, here or "LOCAL" in job.GROUPS)
    texts += _pickle_faults(job)
    return [Fault(f"{job._fission_name}: {text}", job._fission_place) for text in texts]


def pickled(job: BaseJob) -> bytes:
    """Return the job as bytes for its process.

    Raises:
        DefinitionError: a part of it cannot be pickled; the message names the attribute.
    """
    faults = _pickle_faults(job)
    if faults:
        raise DefinitionError("\n".join(f"{job._fission_name}: {text}" for text in faults))
    return pickle.dumps(job, 5)


def copy_dependencies(job: BaseJob, root: Path, folder: Path) -> None:
    """Copy the contents of the directory among a job's DEPENDENCIES, if any, into the job's folder,
    which exists.

    Args:
        job: the job.
        root: the project's folder.
        folder: the job's folder, in that of the run. It may be inside the directory (DEPENDENCIES =
            "my_network"): folders of runs are never copied.

    Raises:
        UserError: a file cannot be copied; the message names it.
    """
    directory = _directory(job, root)
    if directory is None:
        return
    run = folder.resolve().parent

    def leave_out(place: str, names: list[str]) -> set[str]:
        here = Path(place)
        # A simulation may work in the directory or a folder of it: the copy would contain itself.
        ours = {name for name in names if name.isdecimal() or name.startswith(".fission-")} if here.resolve() == run else set()
        return _run_folders(here, root).intersection(names) | ours

    try:
        shutil.copytree(directory, folder, dirs_exist_ok=True, symlinks=True, ignore=leave_out)
    except shutil.Error as why:  # one entry for each file: source, target, reason
        entries = [f"{entry[0]}: {entry[2]}" for entry in why.args[0]]
        raise UserError(f"{job._fission_name}: DEPENDENCIES cannot be copied into {folder}: {'; '.join(entries)}") from None
    except OSError as why:
        raise UserError(f"{job._fission_name}: DEPENDENCIES cannot be copied into {folder}: {why}") from None


def dependency_folder(job: BaseJob, root: Path) -> Path | None:
    """Return the directory among a job's DEPENDENCIES; None if there is none."""
    folder = _directory(job, root)
    return folder.resolve() if folder is not None else None


def dependency_modules(job: BaseJob) -> list[ModuleType]:
    """Return the modules among a job's DEPENDENCIES."""
    return [entry for entry in _entries(job) if isinstance(entry, ModuleType)]


def _entries(job: BaseJob) -> list[Any]:
    listed = job.DEPENDENCIES
    if listed is None:
        return []
    entries = list(listed) if isinstance(listed, (list, tuple)) else [listed]
    # a class stands for its module
    return [sys.modules.get(entry.__module__, entry) if isinstance(entry, type) else entry for entry in entries]


def _directory(job: BaseJob, root: Path) -> Path | None:
    return next((root / entry for entry in _entries(job) if isinstance(entry, (str, os.PathLike)) and str(entry)), None)


def _dependency_faults(job: BaseJob, root: Path) -> list[str]:
    faults = []
    directories = 0
    for entry in _entries(job):
        if isinstance(entry, ModuleType):
            continue
        if not isinstance(entry, (str, os.PathLike)):
            faults.append(f"DEPENDENCIES must be a directory, modules, or a list of them, but {entry!r} is a {type(entry).__name__}")
        elif str(entry):
            directories += 1
            if not (root / entry).is_dir():
                what = "a file" if (root / entry).exists() else "missing"
                faults.append(f"DEPENDENCIES: {str(entry)!r} must be a directory of the project ({root}), but is {what}")
            elif root.resolve() != (root / entry).resolve() and root.resolve().is_relative_to((root / entry).resolve()):
                faults.append(f"DEPENDENCIES: {str(entry)!r} must be a directory of the project, but contains the project ({root})")
            else:
                faults += _uncopyable(root / entry, root)
    if directories > 1:
        faults.append(f"DEPENDENCIES must have at most one directory, but has {directories}; move them below one")
    return faults


def _run_folders(folder: Path, root: Path) -> set[str]:
    """Return the names in the folder that runs create, if it is a network's folder."""
    return RUN_FOLDERS if folder.resolve().parent == root.resolve() and (folder / "config.py").is_file() else set()


def _uncopyable(directory: Path, root: Path) -> list[str]:
    """Return the faults of files that cannot be copied: named pipes, sockets, devices; too many."""
    faults: list[str] = []
    waiting, count = [directory], 0
    while waiting:
        folder = waiting.pop()
        left_out = _run_folders(folder, root)
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                count += 1
                if count > MOST_FILES:
                    text = f"must have at most {MOST_FILES} files and folders, because each start of the job copies all, but has more"
                    return [f"DEPENDENCIES: {directory} {text}; list a smaller directory, or let the job read them where they are"]
                if entry.is_dir(follow_symlinks=False):
                    waiting += [Path(entry.path)] if entry.name not in left_out else []
                elif not entry.is_symlink() and not entry.is_file():
                    faults.append(f"DEPENDENCIES: {entry.path} is a named pipe, a socket or a device, which cannot be copied; remove it")
    return faults


def _executable_faults(job: ExecutableJob, root: Path, here: bool) -> list[str]:
    if not all(isinstance(text or "", str) for text in (job.EXECUTABLE, job.PARAMETERS)):
        return []  # wrong types are reported with the network's faults
    try:
        command = shlex.split(job.EXECUTABLE or "")
        shlex.split(job.PARAMETERS or "")
    except ValueError as why:
        return [f"EXECUTABLE and PARAMETERS must be quoted as in a shell: {why}"]
    if not command:
        return []  # a missing EXECUTABLE is reported with the network's faults
    name, directory = command[0], _directory(job, root)
    if "/" not in name:
        if not here or shutil.which(name):
            return []
        in_folder = directory is not None and (directory / name).exists()
        return [f"EXECUTABLE {name!r} is not on PATH" + (f"; it is in the job's DEPENDENCIES: write './{name}'" if in_folder else "")]
    path = Path(name) if os.path.isabs(name) else (directory or Path()) / name
    if directory is None and not os.path.isabs(name):
        return [f"EXECUTABLE {name!r} is relative to the job's folder; list the directory that contains it in DEPENDENCIES"]
    if not path.is_file():
        return [f"EXECUTABLE {name!r} is missing: there is no file {path}"]
    if not os.access(path, os.X_OK):
        return [f"EXECUTABLE {name!r} is not executable; run: chmod +x {path}"]
    text = _no_program(path, here)
    return [f"EXECUTABLE {name!r} cannot be started: {text}"] if text else []


def _no_program(path: Path, here: bool) -> str:
    """Return why the system would not start the file; empty if it would, or if only the system can
    know.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.read(512)
    except OSError:  # the file may be executable and unreadable
        return ""
    if not beginning:
        return f"{path} is empty"
    line = beginning.partition(b"\n")[0]
    if not line.startswith(b"#!"):
        # every binary format has a zero byte in its header
        return "" if b"\0" in beginning else f"{path} is text without a first line like #!/bin/sh or #!/usr/bin/env python3"
    if line.endswith(b"\r"):
        return f"{path} has Windows line endings; convert it: sed -i 's/\\r$//' {path}"
    words = os.fsdecode(line[2:]).split()
    if not words:
        return f"{path} names no program after the #! of its first line"
    if not here:
        return ""
    if os.path.isabs(words[0]) and not os.path.exists(words[0]):
        return f"the first line of {path} names {words[0]}, which does not exist"
    if os.path.basename(words[0]) == "env":
        program = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        if program and not shutil.which(program):
            return f"the first line of {path} names {program}, which is not on PATH"
    return ""


def _pickle_faults(job: BaseJob) -> list[str]:
    why = _refusal(job)
    if why is None:
        return []
    if "<locals>" in type(job).__qualname__:
        name = type(job).__qualname__
        return [f"its class {name} is defined inside a function, where its process cannot find it; define it at the top level of a module"]
    try:
        state: Any = job.__getstate__()
    except BaseException as error:  # it may be user code
        return [f"its __getstate__ fails: {error_text(error)}"]
    for name, value in state.items() if isinstance(state, dict) else ():
        reason = _refusal(value)
        if reason is None:
            continue
        if name in ("inputs", "outputs"):
            return [f"{text}; leave it out in __getstate__, or create it when it is first used" for text in _pipe_refusals(value)]
        return [
            f"its attribute {name} ({type(value).__name__}) cannot be sent to the job's process: {reason}; "
            "create it in setup, which runs there, not in __init__"
        ]
    return [f"it cannot be sent to its process: {why}"]


def _pipe_refusals(pipes: Iterable[Any]) -> Iterator[str]:
    for pipe in pipes:
        why = _refusal(pipe)
        if why is None:
            continue
        attributes = ((name, value, _refusal(value)) for name, value in vars(pipe).items() if name not in ("source", "destination"))
        found = next(((name, value, reason) for name, value, reason in attributes if reason is not None), None)
        if found is None:
            yield f"{pipe} cannot be sent to the job's process: {why}"
        else:
            yield f"{pipe} cannot be sent to the job's process, because of its attribute {found[0]} ({type(found[1]).__name__}): {found[2]}"


def _refusal(value: object) -> str | None:
    """Return why a value cannot be pickled; None if it can."""
    try:
        pickle.dumps(value, 5)
    except BaseException as error:  # pickling calls the user's __reduce__ and __getstate__, which may raise anything
        return error_text(error)
    return None
