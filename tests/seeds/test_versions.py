"""A node whose versions are not those of the client names the command that makes them the same."""

from __future__ import annotations

from typing import Any

import pytest

from fission.protocol.version_rule import release_line, work_together
from fission.service.versions import difference, versions

HERE = {"Python": "3.11", "fission": "1.0.0", "Dask": "2026.1.0"}
RENEW = "install the client's on it: fission provision renew --limit pi"


@pytest.mark.parametrize(
    ("client", "text"),
    [
        (HERE, ""),
        ({**HERE, "further": "1"}, ""),
        ({**HERE, "fission": "1.0.7"}, ""),
        ({**HERE, "fission": "1.1.0"}, f"the versions differ: fission is 1.1.0 on the client and 1.0.0 on the node; {RENEW}"),
        ({**HERE, "Dask": "2026.3.0"}, f"the versions differ: Dask is 2026.3.0 on the client and 2026.1.0 on the node; {RENEW}"),
        (
            {**HERE, "Python": "3.13", "fission": "2"},
            "the versions differ: Python is 3.13 on the client and 3.11 on the node, fission is 2 on the client and 1.0.0 on the node; "
            f"give it Python 3.13 (fission_python in setting.yml), then {RENEW}",
        ),
        ({"Python": "3.11", "fission": "1.0.0"}, f"the versions differ: Dask is missing on the client and 2026.1.0 on the node; {RENEW}"),
    ],
)
def test_what_differs_and_what_to_do(client: dict[str, Any], text: str) -> None:
    assert difference(client, HERE, "pi") == text


def test_a_name_with_spaces_is_quoted_for_the_shell() -> None:
    assert difference({}, HERE, "the attic").endswith("--limit 'the attic'")


def test_versions_agree_with_themselves() -> None:
    assert difference(versions(), versions(), "pi") == ""


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("1.2.3", "1.2.3", True),
        ("1.2.3", "1.2.4", True),
        ("1.2.0", "1.2.10", True),
        ("0.1.0", "0.1.1", True),
        ("1.2.3", "1.3.3", False),
        ("1.2.3", "2.2.3", False),
        ("0.1.0", "0.2.0", False),
        ("1.2.3", "1.20.3", False),
        ("1.2.3", "11.2.3", False),
        ("1.2.3", "", False),
        ("1.2.3", "1.2", False),
        ("1.2.3", "1.2.4.dev0", False),
        ("1.2.3rc1", "1.2.3", False),
        ("1.2.3rc1", "1.2.3rc1", True),
        ("1.2.3rc1", "1.2.3rc2", False),
        ("unknown", "unknown", True),
    ],
)
def test_which_versions_work_together(one: str, other: str, together: bool) -> None:
    assert work_together(one, other) is together
    assert work_together(other, one) is together


def test_the_line_of_a_release() -> None:
    assert [release_line(version) for version in ("1.2.7", "0.1.0", "1.2", "1.2.7.dev1", "")] == ["1.2", "0.1", "", "", ""]
