"""What Router, Brokers, Pipeliners and clients of the pipelines say to each other: one file per
direction, one codec for all.
"""

from fission.protocol.messages.pipelines import broker_to_router, client_to_router, pipeliner_to_router, pypelinin_to_router
from fission.protocol.messages.pipelines.wire import RequestCodec

#: All requests at the Router's api address.
REQUESTS = RequestCodec(
    "any peer to Router",
    *broker_to_router.CODEC.types,
    *client_to_router.CODEC.types,
    *pipeliner_to_router.CODEC.types,
    *pypelinin_to_router.CODEC.types,
)
