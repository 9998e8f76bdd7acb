"""The two ends of one pipe, each with the real shell of an endpoint, driven step by step by a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from fission.ports import SharedReader
from fission.protocol import frames
from fission.protocol.batches import Batch
from fission.protocol.endpoint_effects import Redirect
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.frames import Buffer
from fission.protocol.inputs import InputSpec
from fission.protocol.link_messages import Release
from fission.protocol.optional import OptionalSpec
from fission.protocol.window import WINDOW_BLOCKS, WINDOW_BYTES
from fission.runtime.endpoint_shell import EndpointShell
from fission.runtime.surroundings import Surroundings


class StepControl:
    """Stands in for the control thread, whose work the test does.

    Attributes:
        armed: moments for which a tick was asked.
    """

    def __init__(self) -> None:
        self.armed: list[float] = []

    def arm(self, moment: float) -> None:
        self.armed.append(moment)

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Producer:
    """A job with one output.

    Attributes:
        shell: shell of its endpoint.
        machine: its output.
        armed: as in `StepControl`.
    """

    def __init__(
        self,
        links: Any,
        spec: OutputSpec,
        *,
        incarnation: int = 1,
        blocks: int = WINDOW_BLOCKS,
        size: int = WINDOW_BYTES,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        control = StepControl()
        self.armed = control.armed
        surroundings = Surroundings(clock=clock, control=lambda links, served: control)
        made = EndpointSpec(outputs=[spec], incarnation=incarnation, window_blocks=blocks, window_bytes=size)
        self.shell = EndpointShell(made, links, surroundings=surroundings)
        self.machine = self.shell.endpoint.outputs[0]
        output = self.shell.outputs[0]
        self.put, self.seek, self.flush, self.press = output.put, output.seek, output.flush, output.press
        self.continue_after = output.continue_after

    def do(self, act: Callable[[], Any]) -> Any:
        """Let the endpoint do something and perform its effects."""
        return self.shell.do(act)

    def open(self, generation: int = 0) -> None:
        self.do(lambda: self.machine.open(generation))

    def end(self) -> None:
        self.do(self.machine.end)

    def tick(self, now: float) -> float:
        due: float = self.do(lambda: self.machine.tick(now))
        return due

    def on_release(self, message: Release) -> None:
        self.shell.on_message([frames.encode_release(message)])

    def wire(self, address: str, incarnation: int, *, near: bool = True) -> int:
        def act() -> int:
            self.shell.endpoint.effects.append(Redirect(self.machine.pipe, address))
            return self.machine.wire(incarnation, near=near)

        blocks: int = self.do(act)
        return blocks

    def wait_released(self) -> None:
        """Block until every block is released."""
        self._wait(lambda: self.machine.all_released)

    def wait_closed(self) -> None:
        """Block until the end has arrived."""
        self._wait(lambda: self.machine.all_closed)

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self.shell.changed:
            self.shell.changed.wait_for(condition)

    @property
    def closed(self) -> bool:
        return self.machine.closed


class Consumer:
    """A job with one input, or several.

    Attributes:
        shell: shell of its endpoint.
        machine: its inputs.
        viewer: reader of shared memory.
    """

    def __init__(
        self,
        links: Any,
        specs: Sequence[InputSpec] = (),
        optional: Sequence[OptionalSpec] = (),
        *,
        incarnation: int = 1,
        blocks: int = 64,
        size: int = 1 << 20,
        viewer: SharedReader | None = None,
    ) -> None:
        made = EndpointSpec(inputs=specs, optional=optional, incarnation=incarnation, window_blocks=blocks, window_bytes=size)
        surroundings = Surroundings(control=lambda links, served: StepControl())
        self.shell = EndpointShell(made, links, viewer=viewer, surroundings=surroundings)
        self.machine = self.shell.inputs
        self.viewer = viewer
        self.aligner, self.optional, self.rule = self.machine.aligner, self.machine.optional, self.machine.rule
        self.pending_release = self.machine.pending_release

    def feed(self, message: Sequence[Buffer]) -> None:
        self.shell.feed(list(message))

    def take(self) -> Batch | None:
        return self.shell.take()

    def release(self, done: int, generation: int, *, force: bool = False) -> bool:
        return self.shell.do(lambda: self.machine.release(done, generation, force=force))

    def wire(self, pipe: int, address: str, incarnation: int) -> None:
        def act() -> None:
            self.shell.endpoint.effects.append(Redirect(pipe, address))
            self.machine.wire(pipe, incarnation)

        self.shell.do(act)

    def close(self) -> None:
        self.shell.do(self.machine.close)

    @property
    def finished(self) -> bool:
        return self.machine.finished

    @property
    def malformed(self) -> int:
        return self.shell.endpoint.counter.malformed
