"""``fission pipelines dashboard``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.commands.pipelines_daemons import api_option, keys_option
from fission.cli.page_process import PAGE_HOST, PAGE_PORT
from fission.cli.pipelines_page import PipelinesPage
from fission.cli.table import example


@click.command(
    name="dashboard",
    epilog=example("fission pipelines dashboard", "fission pipelines dashboard --api tcp://10.0.0.1:5555 --port 0 --no-browser"),
)
@click.option("--port", type=click.IntRange(0, 65535), default=PAGE_PORT, help="Port of the page; 0: a free one. Default: 8787.")
@click.option("--host", default=PAGE_HOST, help="Address of this machine that the page is served at. Default: 127.0.0.1.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@api_option
@keys_option
def command(port: int, host: str, no_browser: bool, api: str, keys: Path | None) -> None:
    """Serve a web page that shows the pipelines of a Router, until Ctrl-C.

    The address is printed; it ends with a token, which allows to run pipelines again and to cancel
    them: keep it to yourself. The page is served on this machine alone, or with --host to others
    too: by TLS, with tokens that `fission keys` makes and revokes. The Router may start later, end
    and start again: the page follows.
    """
    interrupts.loaded()
    PipelinesPage(api, keys, (host, port), browser=not no_browser, err=False, choose="--port").start()
