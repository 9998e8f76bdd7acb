"""The jobs of optional_input: two counted numbers are added or subtracted, as was typed last."""

from __future__ import annotations

from fission.core.jobs import PythonJob


class MiddleJob(PythonJob):
    """Adds or subtracts its second and third input; the first says which."""

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.operator = "+"

    def run(self, typed, first, second):
        if typed in ("+", "-"):
            self.operator = typed
        else:
            print(f"MiddleJob: the operator must be + or -, it is {typed!r}; {self.operator} is kept")
        result = first + second if self.operator == "+" else first - second
        print(f"MiddleJob: {first} {self.operator} {second} = {result}")
        return self.operator, result
