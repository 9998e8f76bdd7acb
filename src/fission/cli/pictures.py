"""Functions shared by the commands that draw a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fission.cli.loading import load_incomplete_network
from fission.cli.table import Session
from fission.errors import UserError

#: Seconds that graphviz may take; arbitrary: it draws a thousand jobs in some seconds.
DOT_S = 120.0
#: Layout programs of graphviz, the default first. Those that draw no arrows (osage, patchwork) are left out.
ENGINES = ("dot", "circo", "fdp", "neato", "sfdp", "twopi")


def picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `fission.project.drawing.PictureOptions`."""
    for option in (
        click.option("--by", type=click.Choice(["node", "name"]), help="What colours stand for: nodes (default) or names of job classes."),
        click.option(
            "--no-pipe-class", "pipe_class", is_flag=True, flag_value=False, default=True, help="Label pipes with their ids only."
        ),
        click.option("--title", metavar="TEXT", help="Text above the picture. Default: the network's name, where there is one."),
    ):
        command = option(command)
    return command


def picture(session: Session, *, title: str | None = None, pipe_class: bool = True, by: str | None = None, plan: bool = False) -> Any:
    """Return the picture of the session's network, even if incomplete, with its placement if it is
    running.

    Args:
        session: whose network.
        title, pipe_class, by: as in `fission.project.drawing.PictureOptions`; `by` None: "node".
        plan: whether a network that is not running is drawn with the places that its jobs would get
            with all nodes up.

    Raises:
        UserError: with `plan`, a job's `preference` fails.
    """
    from fission.client.attach.follow import placement
    from fission.client.dry_run.survival import planned
    from fission.project.drawing import PictureOptions, picture_of

    loaded, _, faults = load_incomplete_network(session)
    for fault in faults:
        click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
        click.echo(str(fault), err=True)
    nodes = placement(loaded.folder)
    options = PictureOptions(title, pipe_class, "name" if by == "name" else "node")
    return picture_of(loaded.network, nodes or (planned(loaded.network) if plan and not faults else {}), options)


def render(text: str, path: Path, engine: str = ENGINES[0]) -> None:
    """Draw dot text into a PDF, SVG or PNG file, selected by the file's ending.

    Args:
        text: in graphviz's language.
        path: the file.
        engine: one of `ENGINES`.

    Raises:
        UserError: graphviz is not installed or fails, or the file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("pdf", "svg", "png"):
        raise UserError(f"the picture must be a .pdf, .svg or .png file, but is {path.name!r}; choose another ending")
    program = shutil.which(engine)
    if program is None:
        raise UserError(
            f"graphviz is not installed: there is no program {engine} on PATH; install it (Debian, Raspberry Pi OS: apt install "
            "graphviz), or draw without it: fission NETWORK show --output FILE, or fission NETWORK graph --format html"
        )
    try:
        done = subprocess.run([program, f"-T{kind}"], input=text.encode(), capture_output=True, timeout=DOT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise UserError(f"{program} cannot draw the network: {why}") from None
    if done.returncode:
        raise UserError(f"{program} cannot draw the network: {done.stderr.decode(errors='replace').strip()}")
    write(path, done.stdout)


def write(path: Path, data: bytes) -> None:
    """Write a picture. Raises UserError."""
    try:
        path.write_bytes(data)
    except OSError as why:
        raise UserError(f"{path} cannot be written: {why.strerror}") from None


def desktop() -> bool:
    """Return whether a window can be opened."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_file(path: Path) -> None:
    """Show a file with the desktop's viewer, as `open_on_desktop` does."""
    open_on_desktop(str(path))


def open_on_desktop(what: str) -> None:
    """Show a file or a web page with the desktop's program for it, if there is a desktop.

    The program outlives this command and holds none of its streams open.

    Args:
        what: path of the file, or address of the page.
    """
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if desktop() and opener:
        subprocess.Popen(
            [opener, what], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
