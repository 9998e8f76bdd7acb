"""A client that starts before its machine has its address."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fission.client.run.engines import listening
from fission.client.run.engines.listening import await_address
from fission.errors import UserError


def loaded(client_ip: str | None) -> Any:
    return SimpleNamespace(name="net", config=SimpleNamespace(client_ip=client_ip))


def test_it_waits_until_the_machine_has_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["Cannot assign requested address", "Cannot assign requested address", ""])
    monkeypatch.setattr(listening, "_unusable", lambda ip: next(answers))
    said: list[str] = []
    await_address(loaded("192.0.2.7"), said.append, again_s=0)
    assert len(said) == 1, "it says so once"
    assert "waiting for the address" in said[0]
    assert "192.0.2.7 is not (Cannot assign" in said[0]
    assert next(answers, None) is None


def test_what_waiting_cannot_repair_is_an_error() -> None:
    with pytest.raises(UserError, match="it is not set"):
        await_address(loaded(None), lambda text: None)
