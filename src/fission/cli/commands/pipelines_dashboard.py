"""``fission pipelines dashboard``, and the page of ``fission pipelines up --dashboard``."""

from __future__ import annotations

from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.commands.pipelines_daemons import api_option, keys_option
from fission.cli.page_process import PAGE_HOST, PAGE_PORT
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
    PipelinesPage(api, keys, (host, port), browser=not no_browser, err=False).start()


class PipelinesPage:
    """The page of a Router's pipelines."""

    def __init__(self, api: str, keys: Path | None, at: tuple[str, int], *, browser: bool, err: bool) -> None:
        """Prepare; `start` serves it.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            keys: the Router's; None: it has none.
            at: host and port of the page.
            browser: whether to open it in a browser, if there is a desktop.
            err: whether the address is printed to standard error.

        Raises:
            DaemonError: the keys cannot be used.
        """
        from fission.dashboard.router_client import RouterConnection

        self._connection = RouterConnection(api.replace("*", "127.0.0.1"), keys)
        self._at, self._browser, self._err = at, browser, err

    def start(self) -> None:
        """Serve the page until Ctrl-C or SIGTERM, with less priority than the pipelines.

        Raises:
            UserError: it cannot be served; the text says why.
        """
        from fission.cli.looking import polite
        from fission.dashboard.pipelines_site import PipelinesSite
        from fission.dashboard.router_client import RouterClient
        from fission.dashboard.server import serve

        polite()
        serve(lambda: PipelinesSite(RouterClient(self._connection)), *self._at, self._announce)

    def _announce(self, address: str) -> None:
        from fission.cli.pictures import open_on_desktop

        click.echo(f"the page of pipelines: {address}", err=self._err)
        if "?token=" not in address:
            text = f"open it with a token: {address}?token=TOKEN; a new one: fission keys --token NAME --role viewer"
            click.echo(text, err=self._err)
        if self._browser:
            open_on_desktop(address)
