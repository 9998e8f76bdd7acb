"""The page of ``fission pipelines dashboard`` and ``fission pipelines up --dashboard``."""

from __future__ import annotations

from pathlib import Path

import click


class PipelinesPage:
    """The page of a Router's pipelines."""

    def __init__(self, api: str, keys: Path | None, at: tuple[str, int], *, browser: bool, err: bool, choose: str) -> None:
        """Prepare; `start` serves it.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            keys: the Router's; None: it has none.
            at: host and port of the page.
            browser: whether to open it in a browser, if there is a desktop.
            err: whether the address is printed to standard error.
            choose: the option with which the user chooses another port.

        Raises:
            DaemonError: the keys cannot be used.
        """
        from fission.dashboard.router_client import RouterConnection

        self._connection = RouterConnection(api.replace("*", "127.0.0.1"), keys)
        self._at, self._browser, self._err, self._choose = at, browser, err, choose

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
        serve(lambda: PipelinesSite(RouterClient(self._connection)), *self._at, self._announce, choose=self._choose)

    def _announce(self, address: str) -> None:
        from fission.cli.pictures import open_on_desktop

        click.echo(f"the page of pipelines: {address}", err=self._err)
        if "?token=" not in address:
            text = f"open it with a token: {address}?token=TOKEN; a new one: fission keys --token NAME --role viewer"
            click.echo(text, err=self._err)
        if self._browser:
            open_on_desktop(address)
