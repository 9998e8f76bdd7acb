"""Shows in a run's log what users have done to the network from elsewhere."""

from __future__ import annotations

from fission.client.serve.control_server import Connection, ControlServer
from fission.ports import Observer
from fission.protocol.messages.client_to_viewer import ActionNoted
from fission.protocol.messages.viewer_to_client import NoteAction


def answer_actions(observer: Observer, requests: ControlServer) -> None:
    """Answer `NoteAction`.

    Args:
        observer: notified of each action.
        requests: the server of the run.
    """

    async def note(request: NoteAction, connection: Connection) -> ActionNoted:
        observer.notice(f"{request.by} {request.action}")
        return ActionNoted()

    requests.answer(NoteAction, note)
