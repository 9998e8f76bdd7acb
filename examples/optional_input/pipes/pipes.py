"""The pipes of optional_input."""

from __future__ import annotations

from fission.core.pipes import OptionalPicklePipe


class OperatorPipe(OptionalPicklePipe):
    """Carries typed lines; `run` does not wait for them."""

    OPTIONAL_DEFAULT = "+"  # until something is typed
    OPTIONAL_STORE = True  # the last value is given again and again, until the next one
    OPTIONAL_BUFFER_SIZE = 1  # of several lines typed at once, one is kept ...
    OPTIONAL_DELETE_MODE = "oldest"  # ... the last
