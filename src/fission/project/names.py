"""The nearest existing name, for messages about one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Arbitrary, but tested: LOGLEVEL, NODE, JOB, XML_FLE and PULSE_INTERVALL are near, LOG_DIR, HEAD, USER_ID and DEBUG are not.
CUTOFF = 0.8


def nearest(name: str, known: Iterable[str], cutoff: float = CUTOFF) -> str | None:
    """Return the one of *known* that *name* probably means, or None. Ignores case.

    Args:
        name: the name that was written.
        known: the existing names.
        cutoff: least similarity, 0 to 1 (`difflib` ratio); names with the same letters in another
            order always match.
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    folded = name.casefold()
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=cutoff)
    if found:
        return by_folded[found[0]]
    # difflib rates two swapped letters of a short name low (JBOS, JOBS: 0.75), although this is the most frequent typing error.
    for candidate in by_folded:
        if sorted(candidate) == sorted(folded):
            return by_folded[candidate]
    return None


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``; did you mean 'x'?`` with the nearest name, or "", to be appended to a message."""
    found = nearest(name, known, cutoff)
    return f"; did you mean {found!r}?" if found is not None else ""


def shown(value: object, limit: int = 80) -> str:
    """Return a value's repr and type for a message, cut to *limit* characters. Never raises."""
    if value is None:
        return "None"
    kind = type(value).__name__
    try:
        text = repr(value)
    except BaseException:  # a user's __repr__ may raise anything, and the message must appear nevertheless
        return f"a {kind} whose repr raises"
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return f"{text} ({kind})"
