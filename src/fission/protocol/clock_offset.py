"""How far another machine's clock is ahead of the client's, from the exchanges of its pulses.

Rules
    An exchange has four times, as in the Network Time Protocol (RFC 5905, section 8): a pulse left
    (by this machine's clock), arrived and was answered (by the client's), and the answer arrived.
    Nothing arrives before it has left, so ``left - reached <= offset <= returned - answered``, also
    if the two directions differ. The tightest of these bounds are kept, one pair for each
    `BUCKET_S`: the minimum filter.
    Two clocks drift apart at a constant rate, of at most `MOST_DRIFT`. The bounds of two moments
    bound the drift, and with it all bounds apply to the present. The offset certainly lies between
    the tightest of them (the convex hull of Moon, Skelly and Towsley: Estimation and removal of
    clock skew from network delay measurements, INFOCOM 1999; here by pairs instead of by the hull).
    The estimate is in the middle of the bounds, moved to the present with the likely drift: that of
    the least squares through their middles, weighted by how narrow they are. Its error is the
    distance to the farther bound.
    If no drift fits all bounds, the rate of a clock has changed: all but the newest are forgotten.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Largest drift of two clocks, seconds per second: Linux slews a clock by up to 500 in a million (adjtimex(2)), and the
#: crystals of cheap boards differ by up to 100 in a million.
MOST_DRIFT = 600e-6
#: Drift of two crystals that is usual; arbitrary. What is measured too badly is taken as less.
USUAL_DRIFT = 100e-6
#: Error of the middle of the narrowest bounds, seconds. Arbitrary: about what twenty delays of 5 ms +- 2 ms leave.
SHARPEST_S = 100e-6
#: Seconds whose exchanges are one pair of bounds. Arbitrary: twenty pulses of 0.1 s, of which some are hardly held up; a drift of 100 in a
#: million makes 0.2 ms of it.
BUCKET_S = 2.0
#: Seconds by which bounds may contradict each other: what rounding makes of clocks that have run for years.
ROUNDING_S = 1e-6
#: Number of pairs of bounds that are kept. Arbitrary: a minute, in which the drift of a crystal does not change.
BUCKETS = 30
#: Pairs of bounds from which the drift is estimated; with fewer it is taken as 0. Arbitrary: delays of 5 ms +- 2 ms give it within 100 in a
#: million then.
FEWEST_OF_DRIFT = 3


class Bound(NamedTuple):
    """The offset was at least, or at most, so much at a moment.

    Attributes:
        at: seconds on this machine's clock.
        offset_s: by which this clock was ahead, seconds.
    """

    at: float
    offset_s: float


class Clock(NamedTuple):
    """A clock, compared with the client's.

    Attributes:
        offset_s: seconds by which it is ahead.
        error_s: largest error of the offset.
        drift: seconds per second by which it becomes more ahead.
    """

    offset_s: float
    error_s: float
    drift: float = 0.0


@dataclass(slots=True)
class _Bucket:
    """The tightest bounds of some seconds."""

    began: float
    low: Bound
    high: Bound

    @property
    def middle(self) -> Bound:
        return Bound((self.low.at + self.high.at) / 2, (self.low.offset_s + self.high.offset_s) / 2)

    @property
    def width_s(self) -> float:
        return self.high.offset_s - self.low.offset_s


class ClockComparison:
    """Compares this machine's clock with the client's."""

    def __init__(self) -> None:
        """Begin without exchanges."""
        self._buckets: deque[_Bucket] = deque(maxlen=BUCKETS)
        self._slopes = (-MOST_DRIFT, MOST_DRIFT)  # what the closed buckets allow
        self._drift = 0.0

    def clear(self) -> None:
        """Forget everything: from now on another clock is compared with."""
        self._buckets.clear()
        self._slopes, self._drift = (-MOST_DRIFT, MOST_DRIFT), 0.0

    def exchanged(self, left: float, reached: float, answered: float, returned: float) -> None:
        """Take the times of one exchange.

        Times that contradict each other (an answer before its question) are dropped.

        Args:
            left: when the pulse left, seconds on this machine's clock.
            reached: when it reached the client, seconds on the client's clock.
            answered: when the client answered, on the same.
            returned: when the answer arrived, on this machine's clock.
        """
        if not (left <= returned and reached <= answered and answered - reached <= returned - left):
            return
        low, high = Bound(left, left - reached), Bound(returned, returned - answered)
        last = self._buckets[-1] if self._buckets else None
        if last is None or not 0 <= left - last.began < BUCKET_S:
            self._close()
            self._buckets.append(_Bucket(left, low, high))
            return
        last.low, last.high = max(last.low, low, key=_offset), min(last.high, high, key=_offset)

    def estimate(self, now: float) -> Clock | None:
        """Return how far this clock is ahead; None: there was no exchange yet.

        Args:
            now: seconds on this machine's clock.
        """
        if not self._buckets:
            return None
        found = self._bounded(now)
        if found is None:
            newest = self._buckets.pop()
            self.clear()
            self._buckets.append(newest)
            found = self._bounded(now)
        if found is None:  # the newest pair alone contradicts itself: the clock was set between two exchanges
            self.clear()
        return found

    def _bounded(self, now: float) -> Clock | None:
        """Return the estimate; None: the bounds contradict each other."""
        slowest, fastest = self._slopes
        low = max(bucket.low.offset_s + slowest * (now - bucket.low.at) for bucket in self._buckets)
        high = min(bucket.high.offset_s + fastest * (now - bucket.high.at) for bucket in self._buckets)
        if low > high + ROUNDING_S or slowest > fastest:
            return None
        drift = min(max(self._drift, slowest), fastest)
        moved = [
            max(bucket.low.offset_s + drift * (now - bucket.low.at) for bucket in self._buckets),
            min(bucket.high.offset_s + drift * (now - bucket.high.at) for bucket in self._buckets),
        ]
        offset_s = min(max(sum(moved) / 2, low), high)
        return Clock(offset_s, max(high - offset_s, offset_s - low, 0.0), drift)

    def _close(self) -> None:
        """Compute the drift from the buckets so far; their number bounds the work, which is done once for each bucket."""
        buckets = self._buckets
        slowest, fastest = -MOST_DRIFT, MOST_DRIFT
        for early, late in itertools.combinations(buckets, 2):
            if late.low.at > early.high.at:
                slowest = max(slowest, _slope(early.high, late.low))
            if late.high.at > early.low.at:
                fastest = min(fastest, _slope(early.low, late.high))
        self._slopes = slowest, fastest
        self._drift = _likely_drift(buckets) if len(buckets) >= FEWEST_OF_DRIFT else 0.0


def _offset(bound: Bound) -> float:
    return bound.offset_s


def _slope(early: Bound, late: Bound) -> float:
    return (late.offset_s - early.offset_s) / (late.at - early.at)


def _likely_drift(buckets: Sequence[_Bucket]) -> float:
    """Return the slope of the line through the middles of buckets: weighted least squares, shrunk towards 0 by what it may be wrong.

    A bucket that is wider than the narrowest was held up in some direction, so its middle may be wrong by half of that.
    """
    least = min(bucket.width_s for bucket in buckets)
    weights = [1 / ((bucket.width_s - least) / 2 + SHARPEST_S) ** 2 for bucket in buckets]
    whole = sum(weights)
    middles = [bucket.middle for bucket in buckets]
    at = sum(weight * middle.at for weight, middle in zip(weights, middles, strict=True)) / whole
    offset_s = sum(weight * middle.offset_s for weight, middle in zip(weights, middles, strict=True)) / whole
    spread = sum(weight * (middle.at - at) ** 2 for weight, middle in zip(weights, middles, strict=True))
    product = sum(weight * (middle.at - at) * (middle.offset_s - offset_s) for weight, middle in zip(weights, middles, strict=True))
    return product / (spread + USUAL_DRIFT**-2)
