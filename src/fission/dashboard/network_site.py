"""The page of a network."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.applications import Starlette

from fission.dashboard.access import Access
from fission.dashboard.act_routes import NetworkActions
from fission.dashboard.app import make_app
from fission.dashboard.pipe_recordings import PipeRecordings
from fission.dashboard.scraper import Scraper, ask_client
from fission.dashboard.tap_follow import PipeTaps
from fission.dashboard.watcher import NetworkWatcher


class NetworkSite:
    """The page of a network, which may start later, and start again: a `fission.dashboard.server.Site`."""

    def __init__(self, folder: Path) -> None:
        """Begin without a look at the network.

        Args:
            folder: the network's folder.
        """
        self._folder = folder
        self._taps, self._recordings = PipeTaps(folder), PipeRecordings(folder)
        self._watcher = NetworkWatcher(folder, lambda: {"recordings": self._recordings.states()})
        self._watcher.remember()

    def app(self, access: Access, hosts: list[str], *, secure: bool) -> Starlette:
        """Return the application; arguments as of `fission.dashboard.guarded.guarded_app`."""
        scraper = Scraper(self._folder.name, lambda: ask_client(self._folder))
        actions = NetworkActions(self._folder, self._recordings)
        return make_app(self._watcher, self._taps, scraper, access, actions, hosts, secure=secure)

    def ending(self) -> None:
        """End the recordings: the client waits only a moment for this process."""
        self._recordings.end()

    async def close(self) -> None:
        """End all that asks the network."""
        await asyncio.to_thread(self._recordings.close)
        await self._taps.close()
        await self._watcher.close()
