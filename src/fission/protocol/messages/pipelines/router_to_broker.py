"""What the Router answers a Broker, and what it broadcasts to all Brokers. The request decides
which class answers it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.wire import AnswerCodec, ObjectPart, RouterReply, UserJson


class RouterAbout(ObjectPart, frozen=True):
    """What FISSION's Brokers need to know of the Router.

    Attributes:
        router: the Router's id, another one after each start.
        scheduler_port: of its Dask scheduler.
    """

    router: str
    scheduler_port: Annotated[int, msgspec.Meta(gt=0, lt=65536)]


class RouterConfiguration(RouterReply, frozen=True, tag=False):
    """The answer to `GetConfiguration`: the Router's config, all of it, and *fission*.

    The Router sends whatever else its config has; pypelinin's brokers may read it.

    Attributes:
        store: arguments of the StoreClass.
        monitoring_interval: seconds between two savings of monitoring information.
        fission: for FISSION's own Brokers.
    """

    store: UserJson
    monitoring_interval: Annotated[float, msgspec.Meta(gt=0)]
    fission: RouterAbout


class PulseHeard(RouterReply, frozen=True, tag="ok"):
    """The answer to `BrokerPulse`.

    Attributes:
        fission: shows whether the Router was started again.
    """

    fission: RouterAbout


class ProcessEndNoted(RouterReply, frozen=True, tag="ok"):
    """The answer to `ReportProcessEnded`.

    Attributes:
        its_job: whether the job was running in this attempt, so that the process may be killed for
            it.
    """

    its_job: bool


class KillJobs(Message, frozen=True, tag=False):
    """Broadcast with the topic ``kill``: jobs were cancelled.

    Attributes:
        jobs: ids of jobs whose processes must be killed.
    """

    jobs: list[str]


CODEC = AnswerCodec(
    "Router to Broker",
    RouterConfiguration,
    PulseHeard,
    ProcessEndNoted,
    KillJobs,
)
