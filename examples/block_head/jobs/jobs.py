"""The jobs of block_head: a bit of the head tells the next job something about a value without changing the value."""

from __future__ import annotations

from fission.core.jobs import PythonJob

CARRY = 7  # the head's last bit; bits 0 to 2 belong to FISSION


class MiddleJob(PythonJob):
    """Adds two typed digits and sets the head's bit `CARRY` if the sum has two digits."""

    HEAD = True

    def run(self, first, second):
        try:
            result = int(first) + int(second)
        except ValueError:
            print(f"MiddleJob: {first!r} and {second!r} must be integers, the sum is taken as 0")
            result = 0
        if result >= 10:
            self.head[CARRY] = 1
        print(f"MiddleJob: {first} + {second} = {result}, head {int(self.head):08b}")
        return result


class HeadJob(PythonJob):
    """Takes 10 off, where the head says so: what is left is the digit to write down."""

    HEAD = True

    def run(self, value):
        result = value - 10 if self.head[CARRY] else value
        print(f"HeadJob: {value} -> {result}")
        return result
