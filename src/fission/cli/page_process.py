"""The page of a run: a process of its own, which starts and ends with the client's command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

import click

from fission.cli.table import Session
from fission.core.addresses import split_port

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Port of the page. Users of Dask know it from Dask's page.
PAGE_PORT = 8787

#: Seconds that the process has to end; arbitrary, within the 2 s of Ctrl-C.
END_S = 0.5

#: Seconds that a run in the background waits for the address of its page, which is shown where it was started; arbitrary: longer
#: than the page's server takes to start on a busy machine.
WAIT_S = 10.0
#: Start of a warning.
NOT_SERVED = "the page is not served: "

#: Where it is served without another host: on this machine alone.
PAGE_HOST = "127.0.0.1"


class PageAddress(click.ParamType):  # type: ignore[type-arg]
    """PORT or HOST:PORT; its value is (host, port)."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        return page_address(value) or self.fail(f"it must be a port from 0 to 65535, or HOST:PORT, but is {value!r}", param, ctx)


def page_address(value: int | str) -> tuple[str, int] | None:
    """Return host and port of a PORT or HOST:PORT; None if it is neither."""
    text = str(value)
    found = split_port(text if ":" in text else f":{text}")
    return None if found is None else (found[0] or PAGE_HOST, found[1])


def page_option_of(help_text: str) -> Callable[[_Command], _Command]:
    """Return the option ``--dashboard``; the argument is ``page_at``."""
    return click.option(
        "--dashboard",
        "page_at",
        type=PageAddress(),
        is_flag=False,
        flag_value=str(PAGE_PORT),
        default=None,
        metavar="[ADDR]",
        help=help_text,
    )


#: The option of the commands that run a network.
page_option = page_option_of(
    "Serve a web page of the network meanwhile, at PORT or HOST:PORT. Default: DASHBOARD of config.py; without ADDR 8787."
)
#: Takes what shows a notice and what shows a warning.
Page: TypeAlias = Callable[[Callable[[str], None], Callable[[str], None]], AbstractContextManager[None]]


def no_page(tell: Callable[[str], None], warn: Callable[[str], None]) -> AbstractContextManager[None]:
    """Serve no page."""
    return contextlib.nullcontext()


@contextlib.contextmanager
def page_of(
    session: Session,
    at: tuple[str, int] | None,
    setting: int | str | None,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    wait_s: float = 0.0,
) -> Iterator[None]:
    """Serve the page of a network while the block runs.

    A page that cannot be served is a warning: the network must run all the same.

    Args:
        session: names the network.
        at: host and port of the page; None: as the setting has it.
        setting: DASHBOARD of config.py.
        tell: called with the line that has the address, from another thread.
        warn: called with the reason if the page is not served, from another thread.
        wait_s: seconds for which the block waits for that line, or for that reason.
    """
    if at is None and setting is not None:
        at = page_address(setting)
    if at is None:
        yield
        return
    host, port = at
    # the process ends when the other end of this pipe is closed, however this one ends
    end, held = os.pipe()
    words = [sys.executable, str(session.root / "manage.py"), session.network, "dashboard"]
    words += ["--host", host, "--port", str(port), "--while-open", str(end)]
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
    known = threading.Event()
    reader = threading.Thread(target=_pass_on, args=(process, tell, warn, known), name="page", daemon=True)
    reader.start()
    try:
        known.wait(wait_s)
        yield
    finally:
        os.close(held)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _pass_on(process: subprocess.Popen[str], tell: Callable[[str], None], warn: Callable[[str], None], known: threading.Event) -> None:
    said = False
    for line in process.stdout or ():
        tell(line.rstrip())
        said = True
        known.set()
    faults = process.stderr.read().strip() if process.stderr else ""
    if not said and faults:
        warn(f"{NOT_SERVED}{faults.removeprefix('Error: ')}")
    known.set()


def page_lines(network: str, output: str) -> list[str]:
    """Return what the output of a run says of its page.

    Args:
        network: its name.
        output: of the run, so far.
    """
    starts = (f"the page of {network}: ", "open it with a token: ", f"Warning: {NOT_SERVED}")
    return [line for line in output.splitlines() if line.startswith(starts)]
