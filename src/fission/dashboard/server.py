"""Serves the page: binds the address, keeps the token, and runs until Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from fission import durable, ownership
from fission.adapters.keys import default_folder
from fission.client.attach.attach import stop
from fission.dashboard.access import Access, Role
from fission.dashboard.app import PAGE, make_app
from fission.dashboard.scraper import Scraper, ask_client
from fission.dashboard.tap_follow import PipeTaps
from fission.dashboard.watcher import NetworkWatcher
from fission.errors import UserError

#: File in the folder of keys with the token, so that a page stays logged in when the server starts again. Readable by the user alone.
TOKEN_FILE = "dashboard-token"
#: Bytes of randomness in a token: as `secrets` recommends.
TOKEN_BYTES = 32
#: Connections at a time; further ones are refused with 503. Arbitrary: a viewer needs two.
MOST_CONNECTIONS = 128


def serve(folder: Path, host: str, port: int, announce: Callable[[str], None], *, while_open: int | None = None) -> None:
    """Serve the page of a network until SIGINT or SIGTERM. Blocks.

    The network may start later, and start again.

    Args:
        folder: the network's folder.
        host: a loopback address or name.
        port: 0 for a free one.
        announce: called with the address to open, which ends with the token.
        while_open: descriptor of a pipe, at whose end the server ends as well; None: no such pipe.

    Raises:
        UserError: the address cannot be bound, or the browser libraries are missing.
    """
    if not (PAGE / "libraries").is_dir():
        raise UserError("the page's browser libraries are missing in this source tree; fetch them: make browser")
    listener = _bound(host, port)
    with listener:
        port = listener.getsockname()[1]
        token = _token(default_folder())
        shown = f"[{host}]" if ":" in host else host
        asyncio.run(_serve(folder, listener, token, lambda: announce(f"http://{shown}:{port}/?token={token}"), while_open))


async def _serve(folder: Path, listener: socket.socket, token: str, announce: Callable[[], None], while_open: int | None) -> None:
    watcher, taps = NetworkWatcher(folder), PipeTaps(folder)
    hosts = ["localhost", "127.0.0.1", "[::1]"]
    scraper = Scraper(folder.name, lambda: ask_client(folder))
    app = make_app(watcher, taps, scraper, Access({token: Role.OPERATOR}), lambda: stop(folder), hosts)
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        log_level="critical",  # it would report the streams that its end cuts off
        timeout_graceful_shutdown=0,  # they have no end of their own
        ws="none",
    )
    server = uvicorn.Server(config)
    announce()
    if while_open is not None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(while_open)
            server.should_exit = True

        loop.add_reader(while_open, end)
    try:
        await server.serve([listener])
    finally:
        await taps.close()
        await watcher.close()


def _bound(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UserError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(MOST_CONNECTIONS)
    except OSError as why:
        listener.close()
        raise UserError(
            f"the page cannot be served at {host}, port {port}: {why.strerror or why}; choose another one with --port"
        ) from None
    listener.setblocking(False)
    return listener


def _token(folder: Path) -> str:
    """Return the token of this user's pages; it is made the first time.

    Raises:
        UserError: its file cannot be read or written, or others can change it.
    """
    path = folder / TOKEN_FILE
    ownership.check(path, "the token of the page", "move it away")
    try:
        if path.exists():
            return path.read_text("ascii").strip()
        token = secrets.token_urlsafe(TOKEN_BYTES)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write_whole(path, f"{token}\n".encode(), mode=0o600)
        return token
    except (OSError, UnicodeDecodeError) as why:
        raise UserError(f"the token of the page cannot be kept in {path}: {getattr(why, 'strerror', None) or why}") from None
