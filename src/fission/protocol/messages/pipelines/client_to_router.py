"""What a PipelineManager and the commands of ``fission pipelines`` ask of the Router, at its api
address. Published: members that a class does not have are ignored.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fission.protocol.messages.pipelines.wire import ArrayPart, Id, RequestCodec, RouterRequest, Whole, check_text


class NamedPipeline(ArrayPart, frozen=True):
    """A submitted pipeline.

    Attributes:
        pipeline_id: its id; a pipeline whose id the Router knows was accepted before.
        pipeline: as `Pipeline.serialize` returns it, or in pypelinin's form.
    """

    pipeline_id: Id
    pipeline: Any


class AddPipelines(RouterRequest, frozen=True, tag="add pipelines"):
    """Accept pipelines, all of them or none.

    Attributes:
        pipelines: at most as many as fit into a message.
    """

    pipelines: list[NamedPipeline]


class AddPipeline(RouterRequest, frozen=True, tag="add pipeline"):
    """Accept one pipeline.

    Attributes:
        pipeline: as `Pipeline.serialize` returns it, or in pypelinin's form.
        pipeline_id: its id; without one the Router chooses it.
    """

    pipeline: Any = None
    pipeline_id: Id | msgspec.UnsetType = msgspec.UNSET


class ListPipelines(RouterRequest, frozen=True, tag="pipelines"):
    """List the newest pipelines, newest first.

    Attributes:
        states: only pipelines in these states; empty: all.
        limit: maximum number of rows.
        before: only pipelines accepted before the one with this order; 0: no limit.
    """

    states: list[str] = msgspec.field(default_factory=list)
    limit: Whole = 100
    before: Whole = 0


class ShowPipeline(RouterRequest, frozen=True, tag="pipeline"):
    """Show one pipeline with its jobs.

    Attributes:
        pipeline_id: its id, or the first letters of it.
    """

    pipeline_id: Id


class RetryPipeline(RouterRequest, frozen=True, tag="retry"):
    """Run the unfinished jobs of a failed or cancelled pipeline again.

    Attributes:
        pipeline_id: its id, or the first letters of it.
        by: who asks for it, for the Router's log; empty: not known.
    """

    pipeline_id: Id
    by: str = ""

    def check(self) -> None:
        check_text(self.by, "by")


class RetryFailedPipelines(RouterRequest, frozen=True, tag="retry failed"):
    """Run failed pipelines again, the newest first, some at a time.

    Attributes:
        before: only pipelines accepted before the one with this order; 0: no limit.
    """

    before: Whole = 0


class CancelPipeline(RouterRequest, frozen=True, tag="cancel"):
    """End a pipeline: jobs that run are killed, the others never start.

    Attributes:
        pipeline_id: its id, or the first letters of it.
        by: who asks for it, for the Router's log; empty: not known.
    """

    pipeline_id: Id
    by: str = ""

    def check(self) -> None:
        check_text(self.by, "by")


class GetEnds(RouterRequest, frozen=True, tag="ended since"):
    """Ask for the ends of pipelines that the broadcast may not have delivered.

    Attributes:
        number: of the last end that the client knows; -1: only ask for the newest number.
    """

    number: Whole = -1


class GetRouterStatus(RouterRequest, frozen=True, tag="status"):
    """Ask how many daemons, processes, workers and pipelines there are."""


class CountPipelines(RouterRequest, frozen=True, tag="counts"):
    """Ask for numbers that a page or a monitoring system shows; answering reads nothing from the database."""


CODEC = RequestCodec(
    "client to Router",
    AddPipelines,
    AddPipeline,
    ListPipelines,
    ShowPipeline,
    RetryPipeline,
    RetryFailedPipelines,
    CancelPipeline,
    GetEnds,
    GetRouterStatus,
    CountPipelines,
)
