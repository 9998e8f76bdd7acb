"""Serves a page: binds the address, keeps token and certificate, and runs until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import uvicorn
from starlette.applications import Starlette

from fission import durable, ownership
from fission.adapters.keys import default_folder
from fission.core.addresses import bracketed
from fission.dashboard.access import Access, Grant, Role
from fission.dashboard.certificates import PageCertificate, server_context
from fission.dashboard.connections import PageConnection
from fission.dashboard.guarded import PAGE
from fission.dashboard.listening import Listening, listen
from fission.dashboard.tokens import LOCAL_TOKEN_FILE, TOKEN_BYTES, TokenStore, pages_folder
from fission.errors import UserError

log = logging.getLogger("fission.dashboard")

#: Name of the token that the first page at an address of the network makes.
FIRST_TOKEN = "first"
#: Seconds between two looks whether the certificate must be renewed; arbitrary: much less than `certificates.RENEW_DAYS`.
RENEW_S = 3600.0
#: Connections at a time; further ones are refused with 503. Arbitrary: a viewer needs two.
MOST_CONNECTIONS = 128


class Site(Protocol):
    """What a page is about."""

    def app(self, access: Access, hosts: list[str], *, secure: bool) -> Starlette:
        """Return the page's application; arguments as of `fission.dashboard.guarded.guarded_app`."""
        ...

    def ending(self) -> None:
        """Begin to end; called if the process that the page belongs to waits only a moment for it."""
        ...

    async def close(self) -> None:
        """Release what the application has opened."""
        ...


def serve(
    make: Callable[[], Site],
    host: str,
    port: int,
    announce: Callable[[str], None],
    *,
    while_open: int | None = None,
    choose: str = "--port",
) -> None:
    """Serve a page until SIGINT or SIGTERM. Blocks.

    At a loopback address it is served by HTTP, with the token that this user's pages always have;
    elsewhere by TLS, with the tokens of `TokenStore`: the first one is made here, and announced once.

    Args:
        make: returns what the page is about; called in the event loop.
        host: an address or name of this machine; 0.0.0.0 or :: for all of them.
        port: 0 for a free one.
        announce: called with the address to open, which ends with the token if it is announced.
        while_open: descriptor of a pipe, at whose end the server ends as well; None: no such pipe.
        choose: where the user chooses another port, for the message.

    Raises:
        UserError: the address cannot be bound, the browser libraries are missing, or tokens or the
            certificate cannot be kept.
    """
    if not (PAGE / "libraries").is_dir():
        raise UserError("the page's browser libraries are missing in this source tree; fetch them: make browser")
    keys = default_folder()
    found = listen(host, port, MOST_CONNECTIONS, choose)
    with found.listener:
        scheme, certificate = "http", None
        if found.is_local:
            token = _token(pages_folder(keys))
            access = Access({token: Role.OPERATOR})
        else:
            scheme, certificate = "https", PageCertificate(pages_folder(keys), found.names())
            certificate.renew(datetime.now(timezone.utc))
            store = TokenStore(pages_folder(keys))
            token = "" if store.grants() else store.make(FIRST_TOKEN, Role.OPERATOR)
            access = Access({}, valid_grants(store))
        address = f"{scheme}://{found.shown}:{found.port}/" + (f"?token={token}" if token else "")
        asyncio.run(_serve(make, found, access, certificate, lambda: announce(address), while_open))


def valid_grants(store: TokenStore) -> Callable[[], Sequence[Grant]]:
    """Return what returns the valid tokens: none while their file cannot be read, which is logged."""
    logged = ""

    def grants() -> Sequence[Grant]:
        nonlocal logged
        try:
            found = store.grants()
        except UserError as why:
            if str(why) != logged:
                log.error("no token of the page is valid: %s", why)
            logged = str(why)
            return ()
        logged = ""
        return found

    return grants


async def _serve(
    make: Callable[[], Site],
    found: Listening,
    access: Access,
    certificate: PageCertificate | None,
    announce: Callable[[], None],
    while_open: int | None,
) -> None:
    site = make()
    app = site.app(access, [bracketed(name) for name in found.names()], secure=certificate is not None)
    config = uvicorn.Config(
        app,
        http=PageConnection,
        log_config=None,
        lifespan="off",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        log_level="critical",  # it would report the streams that its end cuts off
        timeout_graceful_shutdown=0,  # they have no end of their own
        ws="none",
    )
    renewing: asyncio.Task[None] | None = None
    if certificate is not None:
        config.load()
        config.ssl = server_context(certificate)
        renewing = asyncio.create_task(keep_valid(certificate, config.ssl))
    server = uvicorn.Server(config)
    announce()
    if while_open is not None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(while_open)
            site.ending()
            server.should_exit = True

        loop.add_reader(while_open, end)
    try:
        await server.serve([found.listener])
    finally:
        if renewing is not None:
            renewing.cancel()
        await site.close()


async def keep_valid(certificate: PageCertificate, context: ssl.SSLContext, every_s: float = RENEW_S) -> None:
    """Renew the certificate of a running server before it expires: later connections get the new one,
    also if another server has renewed it. Never returns.

    Args:
        certificate: the server's.
        context: what its connections are accepted with.
        every_s: seconds between two looks.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(certificate.renew, datetime.now(timezone.utc))
            server_context(certificate)  # tried elsewhere first: another server may just be writing the two files
            # also if it was not renewed here: another server of this user may have renewed it
            context.load_cert_chain(certificate.cert_file, certificate.key_file)
        except (UserError, OSError) as why:  # ssl.SSLError is one; the page keeps the certificate that it has
            log.warning("the page's certificate is not renewed: %s", why)


def _token(folder: Path) -> str:
    """Return the token of this user's pages; it is made the first time.

    Raises:
        UserError: its file cannot be read or written, or others can change it.
    """
    path = folder / LOCAL_TOKEN_FILE
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
