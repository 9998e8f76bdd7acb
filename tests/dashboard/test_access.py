"""Who may see the page and who may act."""

from __future__ import annotations

import pytest

from fission.dashboard.access import Access, Role, Visitor

ACCESS = Access({"looks": Role.VIEWER, "acts": Role.OPERATOR})


def visitor(token: str) -> Visitor:
    session = ACCESS.session(token)
    assert session is not None
    found = ACCESS.visitor(session=session)
    assert found is not None
    return found


def test_a_session_has_the_role_of_its_token() -> None:
    assert visitor("looks").role is Role.VIEWER
    assert visitor("acts").role is Role.OPERATOR
    assert "acts" not in str(ACCESS.session("acts"))


@pytest.mark.parametrize("token", ["", "Looks", "looks ", "act", "\udcff", "ä"])
def test_another_token_proves_nothing(token: str) -> None:
    assert ACCESS.session(token) is None
    assert ACCESS.visitor(token=token) is None
    assert ACCESS.visitor(session=token) is None
    assert ACCESS.visitor(token=str(ACCESS.session("acts"))) is None, "a session is not a token"


def test_acting_needs_the_role_and_the_form_token() -> None:
    operator, viewer = visitor("acts"), visitor("looks")
    assert operator.may_act(operator.form_token)
    assert not operator.may_act("")
    assert not operator.may_act(viewer.form_token)
    assert not viewer.may_act(viewer.form_token)


def test_a_request_with_the_token_itself_needs_no_form_token() -> None:
    found = ACCESS.visitor(token="acts")
    assert found is not None
    assert found.may_act("")


def test_a_page_stays_logged_in_when_the_server_starts_again() -> None:
    session = ACCESS.session("acts")
    assert session is not None
    assert Access({"acts": Role.OPERATOR}).visitor(session=session) == visitor("acts")
    assert Access({"fresh": Role.OPERATOR}).visitor(session=session) is None


class Forgetful(Access):
    """A broken Access: a session is enough to act."""

    def visitor(self, *, token: str = "", session: str = "") -> Visitor | None:
        found = super().visitor(token=token, session=session)
        return found and Visitor(found.role)


def test_an_access_without_form_tokens_is_caught() -> None:
    broken = Forgetful({"acts": Role.OPERATOR})
    found = broken.visitor(session=str(broken.session("acts")))
    assert found is not None
    assert found.may_act("")
