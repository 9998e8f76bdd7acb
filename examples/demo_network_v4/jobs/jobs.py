"""The jobs of demo_network_v4; the sources come from `shared`."""

from __future__ import annotations

import operator
from functools import reduce

from fission.core.jobs import PythonJob

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class JoinJob(PythonJob):
    """Joins the values that belong together by the operator that was typed last.

    Outputs: the result, the result again, the operator. The result is the text "error" if it cannot be calculated.
    """

    def run(self, symbol, *values):
        try:
            result = reduce(OPERATORS[symbol], values)
            print(f" {symbol} ".join(map(str, values)), "=", result)
        except KeyError:
            print(f"Operator {symbol!r} is not one of {' '.join(OPERATORS)}")
            result = "error"
        except ZeroDivisionError:
            print(f" {symbol} ".join(map(str, values)), "cannot be calculated")
            result = "error"
        return result, result, symbol  # one value for each output


class ReduceJob(PythonJob):
    """Sums up the numbers among what it gets at a time."""

    def run(self, values):
        numbers = [value for value in values if not isinstance(value, str)]
        if len(numbers) < len(values):
            print(f"Dropped {len(values) - len(numbers)} of {len(values)} values: no numbers.")
        result = sum(numbers)
        print(f"Sum over {numbers} = {result}")
        return result
