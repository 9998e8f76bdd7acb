"""A node whose versions are not those of the client names the command that makes them the same."""

from __future__ import annotations

from typing import Any

import pytest

from fission.service.versions import difference, versions

HERE = {"Python": "3.11", "fission": "1.0", "Dask": "2026.1.0"}
RENEW = "install the client's on it: fission provision renew --limit pi"


@pytest.mark.parametrize(
    ("client", "text"),
    [
        (HERE, ""),
        ({**HERE, "further": "1"}, ""),
        ({**HERE, "fission": "1.1"}, f"the versions differ: fission is 1.1 on the client and 1.0 on the node; {RENEW}"),
        ({**HERE, "Dask": "2026.3.0"}, f"the versions differ: Dask is 2026.3.0 on the client and 2026.1.0 on the node; {RENEW}"),
        (
            {**HERE, "Python": "3.13", "fission": "2"},
            "the versions differ: Python is 3.13 on the client and 3.11 on the node, fission is 2 on the client and 1.0 on the node; "
            f"give it Python 3.13 (fission_python in setting.yml), then {RENEW}",
        ),
        ({"Python": "3.11", "fission": "1.0"}, f"the versions differ: Dask is missing on the client and 2026.1.0 on the node; {RENEW}"),
    ],
)
def test_what_differs_and_what_to_do(client: dict[str, Any], text: str) -> None:
    assert difference(client, HERE, "pi") == text


def test_a_name_with_spaces_is_quoted_for_the_shell() -> None:
    assert difference({}, HERE, "the attic").endswith("--limit 'the attic'")


def test_versions_agree_with_themselves() -> None:
    assert difference(versions(), versions(), "pi") == ""
