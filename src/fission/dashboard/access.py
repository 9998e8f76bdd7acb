"""Who may see the page and who may act on it: tokens, sessions and what a request must prove. No I/O.

A *token* is a secret that the user has: in the printed address or a header. A browser exchanges it
for a *session*, a cookie that other sites cannot send (SameSite=Strict). A request that changes
something also needs the session's *form token* in a header, which other sites cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

#: Name of the cookie with the session, and of the header with its form token.
COOKIE, FORM_HEADER = "fission_session", "x-fission-form"


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
    """

    role: Role
    form_token: str = ""

    def may_act(self, form_token: str) -> bool:
        """Return whether this visitor may change something.

        Args:
            form_token: what the request carries.
        """
        return self.role is Role.OPERATOR and _same(self.form_token, form_token)


class Access:
    """The tokens that are valid."""

    def __init__(self, tokens: Mapping[str, Role]) -> None:
        """Begin.

        Args:
            tokens: role of each token.
        """
        self._tokens = dict(tokens)

    def session(self, token: str) -> str | None:
        """Return the session of a token for the cookie; None if the token is not valid.

        It follows from the token, so that a page stays logged in when the server starts again with
        the same tokens.
        """
        return _derived(token, "session") if self._role(token) is not None else None

    def visitor(self, *, token: str = "", session: str = "") -> Visitor | None:
        """Return who sends a request; None if it proves nothing.

        Args:
            token: token of the request's Authorization header; may be empty.
            session: session of its cookie; may be empty.
        """
        role = self._role(token)
        if role is not None:
            return Visitor(role)
        found = None
        for known, known_role in self._tokens.items():  # all of them: the time must not tell which one is near
            if _same(_derived(known, "session"), session):
                found = Visitor(known_role, _derived(known, "form"))
        return found

    def _role(self, token: str) -> Role | None:
        found = None
        for known, role in self._tokens.items():
            if _same(known, token):
                found = role
        return found


def _derived(token: str, purpose: str) -> str:
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    """Compare in a time that does not tell how much agrees. What a request carries may be no text."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
