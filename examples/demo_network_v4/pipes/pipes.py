"""The pipes of demo_network_v4."""

from __future__ import annotations

from fission.core.pipes import OptionalPicklePipe, PicklePipe


class ReducePipe(PicklePipe):
    """Hands over five values at a time, as a list."""

    BLOCK_COUNT = 5


class OperatorPipe(OptionalPicklePipe):
    """Carries typed lines; `run` does not wait for them."""

    OPTIONAL_DEFAULT = "+"  # until something is typed
    OPTIONAL_STORE = True  # the last value is given again and again, until the next one
    OPTIONAL_BUFFER_SIZE = 0  # lines that were typed at once are all kept and used up one by one
    OPTIONAL_DELETE_MODE = "oldest"  # says which one goes when the buffer is full; without a limit it never is
