"""Tokens of pages: only digests are stored, a revoked one is invalid at once, and the commands that make and revoke them."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from fission.dashboard import access
from fission.dashboard.access import Access, Grant, Role
from fission.dashboard.server import valid_grants
from fission.dashboard.tokens import MOST_TOKENS, TOKENS_FILE, TokenStore
from fission.errors import UserError
from tests.waiting import CommandLine


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path, wall_clock=lambda: 100.0)


def test_a_token_has_its_role_and_only_digests_are_stored(store: TokenStore, tmp_path: Path) -> None:
    token = store.make("anna", Role.VIEWER)
    found = Access({}, store.grants)
    session = found.session(token)
    assert session is not None
    assert [found.visitor(token=token), found.visitor(session=session)] == [access.Visitor(Role.VIEWER), found.visitor(session=session)]
    path = tmp_path / TOKENS_FILE
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in text
    assert session not in text
    for stolen in re.findall(r"[0-9a-f]{64}", text):  # who reads the file can neither log in nor make a session
        assert found.session(stolen) is None
        assert found.visitor(token=stolen) is None
        assert found.visitor(session=stolen) is None


class PlainGrant(Grant):
    """A broken one: keeps the session that a browser sends."""

    @staticmethod
    def of(token: str, role: Role, *, name: str = "", made: float = 0.0) -> Grant:
        return Grant(name, role, access._digest(token), access._derived(token, "session"), made)


def test_a_stored_session_would_be_found_in_the_file(store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fission.dashboard.tokens.Grant", PlainGrant)
    token = store.make("anna", Role.VIEWER)
    assert access._derived(token, "session") in (tmp_path / TOKENS_FILE).read_text()


def test_a_revoked_token_is_invalid_at_once_also_in_a_server_that_runs(store: TokenStore, tmp_path: Path) -> None:
    token, other = store.make("anna", Role.VIEWER), store.make("otto", Role.OPERATOR)
    serving = Access({}, TokenStore(tmp_path).grants)
    assert serving.visitor(token=token) is not None
    store.revoke("anna")
    assert serving.visitor(token=token) is None
    assert serving.visitor(token=other) == access.Visitor(Role.OPERATOR)


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 65, "../x", "\u00e4"])
def test_a_malformed_name_is_refused(store: TokenStore, name: str) -> None:
    with pytest.raises(UserError, match="the name of a token must be"):
        store.make(name, Role.VIEWER)


def test_names_are_taken_once_and_tokens_are_few(store: TokenStore) -> None:
    store.make("anna", Role.VIEWER)
    with pytest.raises(UserError, match="there is a token anna already"):
        store.make("anna", Role.OPERATOR)
    with pytest.raises(UserError, match="there is no token named otto; there are: anna"):
        store.revoke("otto")
    for number in range(MOST_TOKENS - 1):
        store.make(f"t{number}", Role.VIEWER)
    with pytest.raises(UserError, match="the most that there may be"):
        store.make("one-more", Role.VIEWER)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"tokens": [{"name": "x"}]}', '{"tokens": [1]}', '{"tokens": [{"name": "x", "role": "root"}]}']
)
def test_a_damaged_file_is_named_and_lets_no_one_in(store: TokenStore, tmp_path: Path, text: str) -> None:
    (tmp_path / TOKENS_FILE).write_text(text)
    with pytest.raises(UserError, match="are damaged"):
        store.grants()


def test_a_file_that_others_can_change_is_refused(store: TokenStore, tmp_path: Path) -> None:
    store.make("anna", Role.VIEWER)
    (tmp_path / TOKENS_FILE).chmod(0o666)
    with pytest.raises(UserError, match="must be changeable by its user and root alone"):
        TokenStore(tmp_path).grants()


def test_the_commands_make_list_and_revoke(fission: CommandLine, tmp_path: Path) -> None:
    folder = ("--dir", str(tmp_path / "keys"))
    assert "There are no tokens" in fission.run("keys", *folder, "--tokens").stdout
    made = json.loads(fission.run("keys", *folder, "--token", "anna", "--json").stdout)
    assert (made["name"], made["role"]) == ("anna", "viewer")
    shown = fission.run("keys", *folder, "--token", "otto", "--role", "operator").stdout
    listed = fission.run("keys", *folder, "--tokens").stdout
    assert re.search(r"^anna +viewer +\d{4}-\d\d-\d\d", listed, re.MULTILINE)
    assert re.search(r"^otto +operator ", listed, re.MULTILINE)
    assert made["token"] not in listed
    assert max(map(len, (shown + listed).splitlines())) <= 80
    fission.run("keys", *folder, "--revoke-token", "anna")
    assert [one["name"] for one in json.loads(fission.run("keys", *folder, "--tokens", "--json").stdout)["tokens"]] == ["otto"]
    assert "different tasks" in fission.run("keys", *folder, "--tokens", "--renew", exit_code=2).stderr


def test_new_keys_end_what_was_stolen_with_the_old_ones(fission: CommandLine, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    fission.run("keys", "--dir", str(keys))
    fission.run("keys", "--dir", str(keys), "--token", "anna")
    fission.run("keys", "--dir", str(keys), "--export-ca", str(tmp_path / "ca.pem"))
    (tmp_path / "keys-pages" / "dashboard-token").write_text("old\n")
    assert len(list((tmp_path / "keys-pages").iterdir())) == 4
    assert not any(path.name in ("ca.key", "tokens.json") for path in keys.iterdir()), "they would go to each node"
    fission.run("keys", "--dir", str(keys), "--renew")
    assert list((tmp_path / "keys-pages").iterdir()) == []


def test_a_damaged_file_lets_no_viewer_in_and_is_logged_once(store: TokenStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a running server: each of its requests reads the tokens, and none must fail by that."""
    token = store.make("anna", Role.OPERATOR)
    found = Access({}, valid_grants(store))
    assert found.visitor(token=token) is not None
    whole = (tmp_path / TOKENS_FILE).read_text()
    (tmp_path / TOKENS_FILE).write_text(whole[:-20])
    assert [found.visitor(token=token), found.session(token)] == [None, None]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "are damaged" in caplog.text
    (tmp_path / TOKENS_FILE).write_text(whole + "\n")
    assert found.visitor(token=token) is not None
