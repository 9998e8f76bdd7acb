"""The nearest of the names that exist, for messages about one that does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Arbitrary, but tried: LOGLEVEL, NODE, JOB, XML_FLE and PULSE_INTERVALL are near, LOG_DIR, HEAD, USER_ID and DEBUG are not.
CUTOFF = 0.8


def nearest(name: str, known: Iterable[str], cutoff: float = CUTOFF) -> str | None:
    """The one of *known* that *name* was probably meant to be, or None. Case does not count.

    Args:
        name: what was written.
        known: what exists.
        cutoff: how near it must be, 0 to 1 (`difflib` ratio); names with the same letters in another order are always near.
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    folded = name.casefold()
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=cutoff)
    if found:
        return by_folded[found[0]]
    # difflib rates two swapped letters of a short name low (JBOS, JOBS: 0.75), and that is the commonest slip.
    for candidate in by_folded:
        if sorted(candidate) == sorted(folded):
            return by_folded[candidate]
    return None


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean 'x'?`` with the nearest name, or an empty string: to be appended to a message."""
    found = nearest(name, known, cutoff)
    return f"; did you mean {found!r}?" if found is not None else ""


def shown(value: object, limit: int = 80) -> str:
    """*value* as a message shows it: its repr with its type, cut to *limit* characters; never raises."""
    if value is None:
        return "None"
    kind = type(value).__name__
    try:
        text = repr(value)
    except BaseException:  # a user's __repr__ may do anything, and a message must still appear
        return f"a {kind} whose repr raises"
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return f"{text} ({kind})"
