"""Asks a network's client when its metrics are scraped, at most once in `CACHE_S`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

import fission
from fission.client.serve.control_server import Viewer
from fission.dashboard.metrics import Answers, families
from fission.errors import FissionError
from fission.protocol.messages.client_to_viewer import JobsMeasured, NetworkDescribed, RunCounted, RunStatus
from fission.protocol.messages.viewer_to_client import CountRun, DescribeNetwork, InspectRun, MeasureJobs

#: Seconds for which an answer is shown again: below the shortest useful interval of scrapes, which is a second.
CACHE_S = 1.0
#: Seconds that the client has to answer: Prometheus waits for 10 s by default.
ANSWER_S = 4.0


class Scraper:
    """The metrics of one network."""

    def __init__(
        self,
        network: str,
        ask: Callable[[], Answers | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        version: str = fission.__version__,
    ) -> None:
        """Begin without a look at the network.

        Args:
            network: its name.
            ask: returns what its client answers, or None; blocks. Called in another thread.
            clock: returns the time in seconds.
            version: of FISSION.
        """
        self._network, self._ask, self._clock, self._version = network, ask, clock, version
        self._asking = asyncio.Lock()
        self._found: tuple[Metric, ...] = ()
        self._until = float("-inf")

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their media type.

        Args:
            accept: the Accept header of the request; it chooses Prometheus' text format or OpenMetrics.
        """
        async with self._asking:  # those who come meanwhile get the same answer
            if self._clock() >= self._until:
                answers = await asyncio.to_thread(self._ask)
                self._found = tuple(families(self._network, self._version, answers))
                self._until = self._clock() + CACHE_S
        return encoded(self._found, accept)


def encoded(found: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Return metrics in the format that a request wants, and its media type.

    Args:
        found: the metrics.
        accept: the Accept header; if it is malformed, the format is Prometheus' text format.
    """
    try:
        encode, media_type = choose_encoder(accept)
    except Exception:  # of the library: TypeError for a version that is none, and others
        encode, media_type = choose_encoder("")
    return encode(MetricsFound(tuple(found))), media_type


class MetricsFound:
    """Metrics as the encoders of prometheus-client take them."""

    def __init__(self, found: tuple[Metric, ...]) -> None:
        self._found = found

    def collect(self) -> tuple[Metric, ...]:
        return self._found


def ask_client(folder: Path) -> Answers | None:
    """Return the answers of a running network's client; None if there are none. Blocks.

    Args:
        folder: the network's folder.
    """
    try:
        with Viewer(folder, answer_s=ANSWER_S) as viewer:
            return Answers(
                description=viewer.ask(DescribeNetwork(), NetworkDescribed),
                status=viewer.ask(InspectRun(), RunStatus),
                measured=viewer.ask(MeasureJobs(), JobsMeasured),
                counted=viewer.ask(CountRun(), RunCounted),
            )
    except FissionError:
        return None
