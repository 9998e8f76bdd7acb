"""Tables that fit the terminal: columns leave in a declared order, and the rest stays readable.

Widths are those of a terminal, in which a character of an East Asian script takes two cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Number of spaces between two columns.
GAP = 2
#: Stands for what was left out of a text.
LEFT_OUT = "\u2026"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        cell: returns the text of a row's cell.
        left: whether it is aligned to the left.
        least: cells to which longer texts may be shortened, so that other columns stay; 0: the
            texts are always whole.
        leaves: place in the order in which columns leave a table that is too wide, 1 is the first;
            columns of one place leave together; 0: it stays.
    """

    cell: Callable[[Mapping[str, Any]], str]
    left: bool = False
    least: int = 0
    leaves: int = 0


def cells_of(text: str) -> int:
    """Return the width of a text in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # only for those who need it: it takes longer than the rest of a command

    return cell_len(text)


def one_line(text: str) -> str:
    """Return a text with ``?`` for each character that a terminal does not show, such as the end of a line or of a sequence of colours."""
    return text if text.isprintable() else "".join(character if character.isprintable() else "?" for character in text)


def padded(text: str, width: int, *, left: bool) -> str:
    """Return a text with spaces up to ``width``."""
    space = " " * (width - cells_of(text))
    return text + space if left else space + text


def shortened(text: str, width: int) -> str:
    """Return a text of at most ``width`` cells, from 1: its middle is left out, as the end of a name often
    is its number.
    """
    if cells_of(text) <= width:
        return text
    tail = _beginning(text[::-1], (width - 1) // 3)[::-1]
    return _beginning(text, width - 1 - cells_of(tail)) + LEFT_OUT + tail


def _beginning(text: str, width: int) -> str:
    used = 0
    for index, character in enumerate(text):
        used += cells_of(character)
        if used > width:
            return text[:index]
    return text


class FittedTable:
    """A table whose columns have been chosen for the width of a terminal.

    Attributes:
        widths: the shown columns in their order, with their widths in cells.
        left: names of the columns that have left.
    """

    def __init__(self, columns: Mapping[str, Column], rows: Sequence[Mapping[str, Any]], width: int | None) -> None:
        """Choose.

        Args:
            columns: by heading, in their order.
            rows: what the table shows.
            width: cells of a line; None: no limit.
        """
        self._columns = columns
        self._cells = [{name: one_line(column.cell(row)) for name, column in columns.items()} for row in rows]
        whole = {name: max([cells_of(name), *(cells_of(cells[name]) for cells in self._cells)]) for name in columns}
        least = {name: min(size, max(columns[name].least, cells_of(name))) if columns[name].least else size for name, size in whole.items()}
        shown = list(columns)
        places = sorted({column.leaves for column in columns.values() if column.leaves})
        while width is not None and places and _line(least, shown) > width:
            place = places.pop(0)
            shown = [name for name in shown if columns[name].leaves != place]
        self.left = [name for name in columns if name not in shown]
        self.widths = {name: whole[name] if width is None else least[name] for name in shown}
        if width is not None:
            self._share_out(whole, width - _line(self.widths, shown))

    def _share_out(self, whole: Mapping[str, int], spare: int) -> None:
        """Give what is spare to shortened columns; take from them what is missing, from the widest first."""
        shortened_ones = [name for name in self.widths if self._columns[name].least]
        while spare < 0 and shortened_ones and (widest := max(shortened_ones, key=self.widths.__getitem__)) and self.widths[widest] > 1:
            self.widths[widest] -= 1
            spare += 1
        for name in shortened_ones:
            more = max(0, min(whole[name] - self.widths[name], spare))
            self.widths[name] += more
            spare -= more

    def lines(self) -> list[str]:
        """Return the lines, headings first."""
        return [self._text({name: name for name in self.widths}), *map(self._text, self._cells)]

    def _text(self, cells: Mapping[str, str]) -> str:
        parts = [padded(shortened(cells[name], width), width, left=self._columns[name].left) for name, width in self.widths.items()]
        return (" " * GAP).join(parts).rstrip()


def _line(widths: Mapping[str, int], shown: Sequence[str]) -> int:
    return sum(widths[name] for name in shown) + GAP * (len(shown) - 1)
