"""Who may see the page and who may act on it: tokens, sessions and what a request must prove. No I/O.

A *token* is a secret that the user has: in the printed address or a header. A browser exchanges it
for a *session*, a cookie that other sites cannot send (SameSite=Strict). A request that changes
something also needs the session's *form token* in a header, which other sites cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

#: Name of the cookie with the session, and of the header with its form token.
COOKIE, FORM_HEADER = "fission_session", "x-fission-form"
#: Name of the token of pages that are served to this machine alone.
LOCAL_NAME = "local"


class Role(str, Enum):
    """What a token allows."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Visitor:
    """A request whose sender is known.

    Attributes:
        role: what it may do.
        form_token: what a request that changes something must carry; empty if it came with a token
            instead of a session, which no other site can make a browser send.
        name: of the token, for the run's log.
    """

    role: Role
    form_token: str = ""
    name: str = field(default="", compare=False)

    def may_act(self, form_token: str) -> bool:
        """Return whether this visitor may change something.

        Args:
            form_token: what the request carries.
        """
        return self.role is Role.OPERATOR and _same(self.form_token, form_token)


@dataclass(frozen=True)
class Grant:
    """What is known of a valid token: not the token itself, nor its session.

    Attributes:
        name: of the token.
        role: what it allows.
        token: digest of the token.
        session: digest of its session.
        made: when, in seconds since the epoch.
    """

    name: str
    role: Role
    token: str
    session: str
    made: float = 0.0

    @staticmethod
    def of(token: str, role: Role, *, name: str = "", made: float = 0.0) -> Grant:
        """Return what may be stored of a token."""
        return Grant(name, role, _digest(token), _digest(_derived(token, "session")), made)


class Access:
    """The tokens that are valid."""

    def __init__(self, tokens: Mapping[str, Role], stored: Callable[[], Sequence[Grant]] = tuple) -> None:
        """Begin.

        Args:
            tokens: role of each token, which are named `LOCAL_NAME`.
            stored: returns what is known of further tokens now.
        """
        self._own = [Grant.of(token, role, name=LOCAL_NAME) for token, role in tokens.items()]
        self._stored = stored

    def session(self, token: str) -> str | None:
        """Return the session of a token for the cookie; None if the token is not valid.

        It follows from the token, so that a page stays logged in when the server starts again with
        the same tokens.
        """
        return _derived(token, "session") if self._grant(token) is not None else None

    def visitor(self, *, token: str = "", session: str = "") -> Visitor | None:
        """Return who sends a request; None if it proves nothing.

        Args:
            token: token of the request's Authorization header; may be empty.
            session: session of its cookie; may be empty.
        """
        known = self._grant(token)
        if known is not None:
            return Visitor(known.role, name=known.name)
        found, digest = None, _digest(session)
        for grant in self._grants():  # all of them: the time must not tell which one is near
            if _same(grant.session, digest):
                found = Visitor(grant.role, _derived(session, "form"), grant.name)
        return found

    def _grant(self, token: str) -> Grant | None:
        found, digest = None, _digest(token)
        for grant in self._grants():
            if _same(grant.token, digest):
                found = grant
        return found

    def _grants(self) -> list[Grant]:
        return [*self._own, *self._stored()]


def _derived(token: str, purpose: str) -> str:
    return hmac.new(_bytes(token), purpose.encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _same(one: str, other: str) -> bool:
    """Compare in a time that does not tell how much agrees."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _bytes(text: str) -> bytes:
    """What a request carries may be no text."""
    return text.encode("utf-8", "surrogatepass")
