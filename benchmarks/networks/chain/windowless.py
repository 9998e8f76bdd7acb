"""Links without windows and releases, to measure what those cost. For benchmarks only: a lost block is not sent again."""

from __future__ import annotations

from fission.protocol import endpoint
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.window import SendWindow


class NoWindow(SendWindow):
    """Numbers blocks and keeps none; it is never full."""

    room = 1 << 30

    def add(self, count, size, item):
        first = self.next
        self.next += count
        self.released = self.next - 1
        return first


class NoReleases(Inputs):
    """Notifies producers only of its end."""

    def release(self, done, generation, *, force=False):
        return False

    def pending_release(self, done, generation):
        return False


def install() -> None:
    """Install these links in a job's process, before its pipes are created."""
    endpoint.SendWindow, endpoint.Inputs = NoWindow, NoReleases
