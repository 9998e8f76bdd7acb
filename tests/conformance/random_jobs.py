"""Jobs and pipes of random networks; also a module of the projects that run them as processes."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from fission.core.jobs import ExecutableJob, PythonJob
from fission.core.pipes import JSONPipe, OptionalPicklePipe, PicklePipe

CORRUPTED = 0x80


class Big(PicklePipe):
    """Carries a large buffer beside each value."""

    PADDING = 0

    def pack(self, value: Any) -> Any:
        return value, bytearray(self.PADDING)

    def unpack(self, packed: Any) -> Any:
        assert len(packed[1]) == self.PADDING
        return packed[0]


class Line(JSONPipe):
    """One line: a value and filler, or a pair of values where a program has pasted two lines."""

    PADDING = 0

    def pack(self, value: Any) -> bytes:
        return json.dumps([value, "x" * self.PADDING]).encode() + b"\n"

    def unpack(self, data: Any) -> Any:
        found = json.loads(b"[" + bytes(data) + b"]")
        values = [value for value, padding in found if len(padding) == self.PADDING]
        assert len(values) == len(found)
        return values[0] if len(values) == 1 else values


class Side(OptionalPicklePipe):
    """An optional pipe: no job waits for it."""

    OPTIONAL_BUFFER_SIZE = 3


class Numbers(PythonJob):
    """A source; with CHECKPOINT a new incarnation continues to count."""

    def __init__(self, index: int, length: int, checkpoint: int | None, outputs: list[Any], pace: float = 0.0) -> None:
        super().__init__(outputs=outputs)
        self.CHECKPOINT = checkpoint
        self.index, self.length, self.pace = index, length, pace

    def setup(self, *args: Any, **kwargs: Any) -> None:
        self.number = 0

    def run(self) -> Any:
        import time

        if self.pace:
            time.sleep(self.pace)
        self.number += 1
        if self.number == self.length:
            self.finish()
        return [self.index, self.number - 1]


class Generates(Numbers):
    """A source that cannot resume."""

    def run(self) -> Any:
        for _ in range(self.length):
            yield [self.index, self.number]
            self.number += 1


class Step(PythonJob):
    """Sends the values of its non-ASYNC inputs, and finishes after a number of compute blocks."""

    def __init__(self, index: int, length: int | None, checkpoint: int | None, inputs: list[Any], outputs: list[Any]) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.CHECKPOINT = checkpoint
        self.index, self.length = index, length

    def setup(self, *args: Any, **kwargs: Any) -> None:
        self.left = self.length or 0

    def run(self, *values: Any) -> Any:
        self.left -= 1
        if not self.left:
            self.finish()
        return [self.index, *(value for value, pipe in zip(values, self.inputs, strict=True) if not pipe.ASYNC)]

    def snapshot(self) -> Any:
        return self.left

    def restore(self, state: Any) -> None:
        self.left = state


class End(Step):
    """Keeps what it receives, except dummies."""

    HEAD = True

    def __init__(self, index: int, length: int | None, checkpoint: int | None, inputs: list[Any], max_queue: int) -> None:
        super().__init__(index, length, checkpoint, inputs, [])
        self.MAX_QUEUE = max_queue
        self.got: list[Any] = []

    def run(self, *values: Any) -> None:
        row = super().run(*values)
        if not int(self.head) & CORRUPTED:
            self.got.append(row)


class FileEnd(End):
    """Writes each row into a file that its new incarnations continue.

    It may receive blocks again that it had.
    """

    def run(self, *values: Any) -> None:
        super().run(*values)
        if self.got:  # not a dummy
            with open("rows.jsonl", "a") as file:
                file.write(json.dumps(self.got.pop()) + "\n")


class Program(ExecutableJob):
    """A line of sh."""

    EXECUTABLE = "sh"

    def __init__(self, script: str, ratio: Fraction | None, inputs: list[Any], outputs: list[Any]) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.script, self.RATIO = script, ratio

    def command(self, input_arguments: Any, output_arguments: Any) -> list[str]:
        words = super().command(input_arguments, output_arguments)
        if not output_arguments:
            return [words[0], "-c", self.script, "sh", *words[1:]]
        places = [f"${{{2 * (len(input_arguments) + number) + 2}}}" for number in range(len(output_arguments))]
        script = f"{self.script} >{places[0]}" if len(places) == 1 else f"{self.script} | tee {' '.join(places[1:])} >{places[0]}"
        return [words[0], "-c", script, "sh", *words[1:]]


def build(nodes: Any, programs: Any, sink: type[End], pace: float = 0.0) -> list[Any]:
    """Return the jobs of a plan, in its order."""
    numbers = iter(range(1, 10_000))
    ins: list[list[Any]] = [[] for _ in nodes]
    outs: list[list[Any]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        for one, count in node.inputs:
            kind = Line if node.is_program or nodes[one].is_program else Big if nodes[one].big else PicklePipe
            pipe: Any = kind(next(numbers))
            pipe.BLOCK_COUNT, pipe.PADDING = count, nodes[one].big
            ins[index].append(pipe)
            outs[one].append(pipe)
    for index, node in enumerate(nodes):
        for one in node.optional:
            pipe = Side(next(numbers))
            ins[index].append(pipe)
            outs[one].append(pipe)
    jobs: list[Any] = []
    for index, node in enumerate(nodes):
        if node.kind == "seq":
            script = f"seq 0 {node.length - 1} | sed 's/.*/[[{index},&],\"\"]/'" if node.length else "true"
            jobs.append(Program(script, Fraction(1), [], outs[index]))
        elif node.kind == "keeps":
            jobs.append(Program("cat <$2 >>rows.txt", Fraction(1), ins[index], []))
        elif not node.inputs:
            kind = Generates if node.kind == "generator" else Numbers
            jobs.append(kind(index, node.length, node.checkpoint, outs[index], pace))
        elif node.kind == "sink":
            jobs.append(sink(index, node.length, node.checkpoint, ins[index], node.max_queue))
        elif node.is_program:
            script, ratio = programs[node.kind]
            jobs.append(Program(script, ratio, ins[index], outs[index]))
        else:
            jobs.append(Step(index, node.length, node.checkpoint, ins[index], outs[index]))
    return jobs
