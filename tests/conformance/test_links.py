"""Every implementation of `fission.ports.Links` under the one suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.links import LinksConformance
from tests.conformance.places import PLACES, Place


class TestLinks(LinksConformance):
    @pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
    def place(self, request: pytest.FixtureRequest) -> Iterator[Place]:
        place = request.param()
        yield place
        place.close()
