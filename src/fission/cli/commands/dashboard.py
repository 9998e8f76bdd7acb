"""``fission NETWORK dashboard``."""

from __future__ import annotations

import click

from fission.cli import interrupts
from fission.cli.looking import folder_of, polite
from fission.cli.page_process import PAGE_HOST, PAGE_PORT
from fission.cli.table import Session, example


@click.command(name="dashboard", epilog=example("fission my_network dashboard", "fission my_network dashboard --port 0 --no-browser"))
@click.option("--port", type=click.IntRange(0, 65535), default=PAGE_PORT, help="Port of the page; 0: a free one. Default: 8787.")
@click.option("--host", default=PAGE_HOST, help="Address of this machine that the page is served at. Default: 127.0.0.1.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@click.option("--while-open", type=int, hidden=True)
@click.pass_obj
def command(session: Session, port: int, host: str, no_browser: bool, while_open: int | None) -> None:
    """Serve a web page that shows the NETWORK while it runs, until Ctrl-C.

    The address is printed; it ends with a token, which allows to act: keep it to yourself. The page
    is served on this machine alone, or with --host (0.0.0.0, [::], an address or a name) to others
    too: by TLS, with tokens that `fission keys` makes and revokes. The network may start later, end
    and start again: the page follows.
    """
    from fission.cli.pictures import open_on_desktop
    from fission.dashboard.network_site import NetworkSite
    from fission.dashboard.server import serve

    folder = folder_of(session)
    interrupts.loaded()
    polite()

    def announce(address: str) -> None:
        click.echo(f"the page of {session.network}: {address}")
        if "?token=" not in address:
            click.echo(f"open it with a token: {address}?token=TOKEN; a new one: fission keys --token NAME --role viewer")
        if not no_browser:
            open_on_desktop(address)

    # a run starts this command for its page, whose address is not given here
    choose = "--port" if while_open is None else "--dashboard ADDR, or DASHBOARD in config.py"
    serve(lambda: NetworkSite(folder), host, port, announce, while_open=while_open, choose=choose)
