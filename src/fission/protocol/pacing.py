"""How long an output holds blocks back, and how often it looks again while it waits."""

from __future__ import annotations

#: Blocks closer together than this are coalesced. Measured: a send costs about 2 us, so at most 2 % of a busy link's time.
HOLD_S = 100e-6
#: Where so many blocks are under way, the consumer is behind and nothing is won by sending soon: only full messages are sent
#: then. Arbitrary: two full messages.
BEHIND_BLOCKS = 512
#: The same for big blocks: this share of the window. Arbitrary: as much as a consumer lets go of at a time.
BEHIND_SHARE = 4
#: A job that has waited so long for a message has a link that is not busy. Arbitrary: several times what taking a message costs.
IDLE_S = 50e-6
#: Longest time that a block is held while its job does something else. Arbitrary: below what a person or a scheduler notices.
HELD_AT_MOST_S = 1e-3
#: A message is sent when it has so many blocks or bytes. Where the gain per further small block gets below 1 %; four blocks of 64 KiB
#: in a message instead of one gain some percent between hosts.
COALESCE_BLOCKS = 256
COALESCE_BYTES = 256 << 10
#: Blocks in shared memory, of which only descriptors travel, are sent when they make this share of the window. Measured with blocks of
#: 1 MB: 15 % more of them a second than with an eighth, and no more with a third.
COALESCE_SHARE = 4
#: Seconds between looks at the inputs while waiting for room in a circle of jobs; arbitrary.
CIRCLE_POLL_S = 0.02
#: Seconds of waiting for room after which the consumer is told of it, again and again. Arbitrary: far above what a release takes in a
#: network that flows, and a snapshot each time is affordable.
PRESS_S = 0.1
