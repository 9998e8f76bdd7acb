"""How long an output holds blocks back, and how often a waiting output checks again."""

from __future__ import annotations

#: Blocks less than this many seconds apart are coalesced. Measured: a send costs about 2 us, so at
#: most 2 % of a busy link's time.
HOLD_S = 100e-6
#: With this many blocks in transit, the consumer lags and early sending gains nothing: only full
#: messages are sent then. Arbitrary: two full messages.
BEHIND_BLOCKS = 512
#: The same limit for large blocks, as a share of the window. Arbitrary: as much as a consumer
#: releases at a time.
BEHIND_SHARE = 4
#: After waiting this many seconds for a message, a job's link counts as not busy. Arbitrary:
#: several times the cost of taking a message.
IDLE_S = 50e-6
#: Longest time in seconds that a block is held while its job does something else. Arbitrary: below
#: what a person or a scheduler notices.
HELD_AT_MOST_S = 1e-3
#: The same limit while the consumer lags: it has blocks enough, so that only the end of a burst is
#: late, and a busy job wakes its control thread ten times less. Measured in a chain of 8 hops: half
#: the CPU time of the control threads. Arbitrary: the pause that a listener does not hear.
HELD_BEHIND_S = 10e-3
#: A message is sent when it has this many blocks or bytes. Blocks: the point at which the gain per
#: further small block falls below 1 %. Bytes: four blocks of 64 KiB in a message instead of one
#: gain some percent between hosts.
COALESCE_BLOCKS = 256
COALESCE_BYTES = 256 << 10
#: The same limit for large blocks to another machine, whose buffers are frames of their own. Measured
#: with arrays of 64 KiB and encryption: 12 % less CPU time than with 256 KiB.
COALESCE_FAR_BYTES = 1 << 20
#: Blocks in shared memory, of which only descriptors are sent, are sent when they fill this share
#: of the window. Measured with 1 MB blocks: 15 % more blocks/s than with an eighth, and no gain
#: with a third.
COALESCE_SHARE = 4
#: Seconds between checks of the inputs while waiting for room in a cycle of jobs; arbitrary.
CIRCLE_POLL_S = 0.02
#: Seconds of waiting for room after which the consumer is notified, repeatedly. Arbitrary: far
#: above the time that a release takes in a network that flows, and long enough to afford a snapshot
#: each time.
PRESS_S = 0.1
