"""What the commands that look at a running network share."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fission.cli.table import Session
from fission.errors import UnknownNameError


def find_pipe(network: Any, text: str) -> Any:
    """The pipe that the user means by its id. Raises UnknownNameError with the nearest."""
    from fission.project.names import did_you_mean

    known = {str(number): pipe for number, pipe in network.pipes.items()}
    if text not in known:
        raise UnknownNameError(f"there is no pipe {text} in {network.name}{did_you_mean(text, known) or '.'} Pipes: {', '.join(known)}")
    return known[text]


def find_job(network: Any, text: str) -> Any:
    """The job that the user means: by its id, by its name with or without the id, or by its class
    if only one job is of it.

    Raises:
        UnknownNameError: there is none, or several; with the nearest, or all of them.
    """
    from fission.project.names import did_you_mean

    by_id = {str(number): job for number, job in network.jobs.items()}
    by_name = {job._fission_name: job for job in by_id.values()}
    if job := by_id.get(text) or by_name.get(text):
        return job
    known: dict[str, dict[int, Any]] = {}
    for name, job in by_name.items():
        for word in (name.removesuffix(f" {job._fission_id}"), type(job).__name__):
            known.setdefault(word, {})[job._fission_id] = job
    meant = known.get(text, {})
    if len(meant) == 1:
        return next(iter(meant.values()))
    if meant:
        named = ", ".join(f"{number} ({job._fission_name})" for number, job in meant.items())
        raise UnknownNameError(f"{len(meant)} jobs of {network.name} are called {text!r}; name one by its id: {named}")
    hint = did_you_mean(text, [*by_id, *by_name, *known]) or "."
    raise UnknownNameError(f"there is no job {text!r} in {network.name}{hint} Jobs: {', '.join(by_name)}")


def job_ids(session: Session, words: Sequence[str]) -> list[int]:
    """The ids of jobs of a running network that the user means by id, name or class.

    Ids are taken as they are, and the running network says which there are; for names the network
    is loaded.

    Raises:
        UnknownNameError: there is no such job.
    """
    if all(word.isdecimal() and int(word) for word in words):
        return [int(word) for word in words]
    from fission.cli.loading import load_network

    network = load_network(session, simulation=True).network
    return [find_job(network, word)._fission_id for word in words]


def polite() -> None:
    """Let the network have the processor first: from now on this process only gets what is left."""
    with contextlib.suppress(OSError):
        os.nice(10)


def folder_of(session: Session) -> Path:
    """The network's folder."""
    return session.root / session.network


def cut_text(cut: Sequence[int]) -> str:
    """Say that the ends of pipes were not seen."""
    which = "pipe" if len(cut) == 1 else "pipes"
    return f"the end of {which} {', '.join(map(str, cut))} was not seen: last blocks may be missing (the job or the network was killed)"


def seconds(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Callback of options that are a number of seconds."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"must be a number of seconds above 0, but is {value}")
    return value


def value_reader(pipe: Any) -> Any:
    """The function that turns a payload into the value that `run` would get."""
    from fission.errors import BlockError, error_text
    from fission.runtime import codec

    return codec.decoder(pipe, lambda why: BlockError(f"a block of {pipe} could not be read: {error_text(why)}"))
