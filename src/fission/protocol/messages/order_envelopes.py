"""Orders and answers as Dask carries them between a client and a node: with what every version of
FISSION understands around them.

A client and a node of versions that do not fit must still be able to say so to each other, although
the messages of one may be unknown to the other. So an order is a dict with the members ``do`` and
``versions``, and an answer one with ``error``, ``name`` and ``ip``: these do not change between
versions, and only ``message`` has what `client_to_node` and `node_to_client` define.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol.messages.client_to_node import ORDERS, ClaimNode, InspectNode, Order
from fission.protocol.messages.node_to_client import ANSWERS, Answer, OrderRefused

#: What a client of any version begins with, by the names of the first one.
_FIRST = {ClaimNode: "enlist", InspectNode: "visit"}


def wrap_order(order: Order) -> dict[str, Any]:
    """Return an order as Dask carries it."""
    versions = order.versions if isinstance(order, (ClaimNode, InspectNode)) else {}
    return {"do": _FIRST.get(type(order), ""), "versions": dict(versions), "message": ORDERS.encode(order)}


def unwrap_order(envelope: object) -> Order:
    """Return the order that `wrap_order` took.

    Raises:
        RemoteProtocolError: it is malformed, or of another version.
    """
    return ORDERS.decode(_message_of(envelope, ORDERS.name))


def versions_of(envelope: object) -> dict[str, str]:
    """Return the versions that an order of any version names; empty: it names none."""
    versions = envelope.get("versions") if isinstance(envelope, Mapping) else None
    return {str(name): str(version) for name, version in versions.items()} if isinstance(versions, Mapping) else {}


def wrap_answer(answer: Answer) -> dict[str, Any]:
    """Return an answer as Dask carries it."""
    envelope: dict[str, Any] = {"message": ANSWERS.encode(answer)}
    if isinstance(answer, OrderRefused):
        envelope |= {"error": answer.error, "name": answer.name, "ip": answer.ip}
    return envelope


def unwrap_answer(envelope: object) -> Answer:
    """Return the answer that `wrap_answer` took; a refusal of any version is an `OrderRefused`.

    Raises:
        RemoteProtocolError: it is malformed, or of another version and no refusal.
    """
    try:
        return ANSWERS.decode(_message_of(envelope, ANSWERS.name))
    except RemoteProtocolError:
        if isinstance(envelope, Mapping) and envelope.get("error"):
            error, name, ip = (str(envelope.get(member) or "") for member in ("error", "name", "ip"))
            return OrderRefused(error=error, name=name, ip=ip)
        raise


def _message_of(envelope: object, direction: str) -> bytes:
    message = envelope.get("message") if isinstance(envelope, Mapping) else None
    if not isinstance(message, bytes):
        raise RemoteProtocolError(f"{direction}: a message of another version of FISSION, or of none: {envelope!r:.100}")
    return message
