"""The page of a run: a process of its own, which starts and ends with the client's command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

import click

from fission.cli.table import Session

#: Port of the page. Users of Dask know it from Dask's page.
PAGE_PORT = 8787

#: Seconds that the process has to end; arbitrary, within the 2 s of Ctrl-C.
END_S = 0.5

#: The option of the commands that run a network; the argument is ``page_port``.
page_option = click.option(
    "--dashboard",
    "page_port",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=PAGE_PORT,
    default=None,
    metavar="[PORT]",
    help="Serve a web page of the network meanwhile. Default: DASHBOARD of config.py; without a PORT 8787.",
)
#: Takes what shows a notice and what shows a warning.
Page: TypeAlias = Callable[[Callable[[str], None], Callable[[str], None]], AbstractContextManager[None]]


def no_page(tell: Callable[[str], None], warn: Callable[[str], None]) -> AbstractContextManager[None]:
    """Serve no page."""
    return contextlib.nullcontext()


@contextlib.contextmanager
def page_of(session: Session, port: int | None, tell: Callable[[str], None], warn: Callable[[str], None]) -> Iterator[None]:
    """Serve the page of a network while the block runs.

    A page that cannot be served is a warning: the network must run all the same.

    Args:
        session: names the network.
        port: of the page; None: no page.
        tell: called with the line that has the address, from another thread.
        warn: called with the reason if the page is not served, from another thread.
    """
    if port is None:
        yield
        return
    # the process ends when the other end of this pipe is closed, however this one ends
    end, held = os.pipe()
    words = [sys.executable, str(session.root / "manage.py"), session.network, "dashboard", "--port", str(port), "--while-open", str(end)]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(end,),
        start_new_session=True,  # the Ctrl-C of this terminal is for the client
    )
    os.close(end)
    reader = threading.Thread(target=_pass_on, args=(process, tell, warn), name="page", daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.close(held)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _pass_on(process: subprocess.Popen[str], tell: Callable[[str], None], warn: Callable[[str], None]) -> None:
    said = False
    for line in process.stdout or ():
        tell(line.rstrip())
        said = True
    faults = process.stderr.read().strip() if process.stderr else ""
    if not said and faults:
        warn(f"the page is not served: {faults.removeprefix('Error: ')}")
