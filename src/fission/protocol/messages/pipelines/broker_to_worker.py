"""What a Broker hands to a process that it forks, as the payload of the fork server's request."""

from __future__ import annotations

from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.wire import PlainCodec, UserJson


class StartWorker(Message, frozen=True, tag=False):
    """Be a worker process: connect to the Router's Dask scheduler and run jobs.

    Attributes:
        name: of the process, for people.
        broker: id of the Broker.
        scheduler: address of the Dask scheduler.
        store: arguments of the StoreClass.
    """

    name: str
    broker: str
    scheduler: str
    store: UserJson


class StartStore(Message, frozen=True, tag=False):
    """Be the process of the store.

    Attributes:
        store: arguments of the StoreClass.
    """

    store: UserJson


CODEC = PlainCodec("Broker to worker process", StartWorker, StartStore)
