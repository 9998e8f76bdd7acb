"""A job's pipes over every implementation of `fission.ports.Links`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.exchange import LineConformance, NetworkConformance
from tests.conformance.places import PLACES, Place


@pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = request.param()
    yield place
    place.close()


class TestLine(LineConformance):
    pass


class TestNetwork(NetworkConformance):
    pass
