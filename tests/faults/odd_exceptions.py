"""Raises unusual exceptions."""

from fission.core.jobs import PythonJob


class Interrupts(PythonJob):
    def run(self, value):
        raise KeyboardInterrupt


class Exhausted(PythonJob):
    """Runs out of values without finishing."""

    def setup(self, *args, **kwargs):
        self.values = iter([1, 2])

    def run(self):
        return next(self.values)


class Endless(PythonJob):
    def run(self, value):
        return self.run(value)


class SaysMuch(PythonJob):
    """Raises an error that is longer than the pipe to the client holds."""

    def run(self, value):
        raise ValueError("\u4e2d" * 30_000)


class SaysUnprintableText(PythonJob):
    def run(self, value):
        raise ValueError("half a \udcff")


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError


class RaisesSpeechless(PythonJob):
    def run(self, value):
        raise Speechless
