"""The pipes of example_3."""

from __future__ import annotations

from fission.core.pipes import OptionalPicklePipe


class OperatorPipe(OptionalPicklePipe):
    """Carries what was typed; nobody waits for it."""

    OPTIONAL_DEFAULT = "+"  # until something is typed
    OPTIONAL_STORE = True  # the last value is given again and again, until the next one
    OPTIONAL_BUFFER_SIZE = 1  # of several lines typed at once, one is kept ...
    OPTIONAL_DELETE_MODE = "oldest"  # ... the last
