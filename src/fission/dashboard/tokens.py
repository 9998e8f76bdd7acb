"""The tokens with which a page at an address of the network may be seen: only digests are stored.

A token is random (`TOKEN_BYTES`), so that its digest cannot be guessed from, and a slow one would
gain nothing.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fission import durable, ownership
from fission.dashboard.access import Grant, Role
from fission.errors import UserError

#: File in the folder of the pages. Readable by the user alone.
TOKENS_FILE = "tokens.json"
#: File there with the token of pages at loopback addresses: they stay logged in when their server starts again.
LOCAL_TOKEN_FILE = "dashboard-token"
#: Bytes of randomness in a token: as `secrets` recommends.
TOKEN_BYTES = 32
#: What a token may be named.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: Tokens of one user. Arbitrary: each request is compared with all of them.
MOST_TOKENS = 100


def pages_folder(keys: Path) -> Path:
    """Return the folder of what belongs to the pages that are served to others.

    It is beside the folder of keys, which is copied to each node: no node needs this one.

    Args:
        keys: the folder of keys.
    """
    return keys.with_name(f"{keys.name}-pages")


class TokenStore:
    """The tokens of one user, for the pages of all networks."""

    def __init__(self, folder: Path, *, wall_clock: Callable[[], float] = time.time) -> None:
        """Name the store; nothing is read yet.

        Args:
            folder: of the pages.
            wall_clock: returns the seconds since the epoch.
        """
        self._path, self._wall_clock = folder / TOKENS_FILE, wall_clock
        self._seen: tuple[int, int, int] | None = None  # of the file that was read last
        self._grants: tuple[Grant, ...] = ()

    def make(self, name: str, role: Role) -> str:
        """Return a new token; it is stored nowhere.

        Args:
            name: by which it can be revoked.
            role: what it allows.

        Raises:
            UserError: the name is taken or malformed, there are too many, or the file cannot be
                written.
        """
        if NAME.fullmatch(name) is None:
            raise UserError(f"the name of a token must be letters, digits, hyphens, dots and underscores, 64 at most, but is {name!r}")
        grants = self.grants()
        if any(grant.name == name for grant in grants):
            raise UserError(f"there is a token {name} already; revoke it (fission keys --revoke-token {name}), or choose another name")
        if len(grants) >= MOST_TOKENS:
            raise UserError(f"there are {MOST_TOKENS} tokens already, the most that there may be; revoke one (fission keys --tokens)")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._write((*grants, Grant.of(token, role, name=name, made=self._wall_clock())))
        return token

    def revoke(self, name: str) -> None:
        """Make a token invalid, at once and for good.

        Raises:
            UserError: there is none of this name, or the file cannot be written.
        """
        grants = self.grants()
        left = tuple(grant for grant in grants if grant.name != name)
        if len(left) == len(grants):
            known = ", ".join(grant.name for grant in grants) or "none"
            raise UserError(f"there is no token named {name}; there are: {known}")
        self._write(left)

    def grants(self) -> tuple[Grant, ...]:
        """Return the valid tokens, as far as they are stored. Reads the file if it has changed.

        Raises:
            UserError: the file is damaged, or others can change it.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._grants = None, ()
            return ()
        except OSError as why:
            raise UserError(f"the tokens of the page cannot be read: {self._path}: {why.strerror}") from None
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if seen != self._seen:
            self._grants = self._read()
            self._seen = seen
        return self._grants

    def _read(self) -> tuple[Grant, ...]:
        ownership.check(self._path, "the file of the page's tokens", "move it away")
        try:
            values: list[dict[str, Any]] = json.loads(self._path.read_text("utf-8"))["tokens"]
            return tuple(Grant(**{**value, "role": Role(value["role"])}) for value in values)
        except (OSError, ValueError, TypeError, KeyError) as why:
            raise UserError(f"the tokens of the page in {self._path} are damaged ({why}); remove the file and make new ones") from None

    def _write(self, grants: tuple[Grant, ...]) -> None:
        values = [{**vars(grant), "role": grant.role.value} for grant in grants]
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            durable.write_whole(self._path, (json.dumps({"tokens": values}, indent=2) + "\n").encode(), mode=0o600)
        except OSError as why:
            raise UserError(f"the tokens of the page cannot be stored in {self._path}: {why.strerror or why}") from None
