"""Where the elements of a picture lie, in pixels: y grows downwards.

The layers of a picture are columns. More columns than a page has room for are folded into bands,
one under another, as lines of a text are. Between two columns is a gap: in its first part arrows
bend, in the rest they are straight, and their labels stand above them, one lane each: so no label
lies on another arrow. An arrow that does not lead to the next column goes through a corridor
under its band.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from fission.project.drawing.picture import Arrow, Picture

Point = tuple[int, int]

#: Width of a page: a browser's window of 1,400 pixels without its margins; on paper A4 across at 118 pixels an inch.
PAGE = 1320
#: A box's least size, the space under it, the margin around the picture and an open end's radius; arbitrary.
WIDTH, HEIGHT, DOWN, MARGIN, OPEN = 110, 44, 26, 24, 12
#: The part of a gap where arrows bend, and the distance between arrows side by side: a line of a label. Arbitrary.
BEND, LANE = 56, 15
#: Pixels of a character in a box and in a label: what Chromium draws of the widest common sans-serif font (DejaVu Sans,
#: 12 and 10 pixels) for lower-case letters, which are wider than most others in use.
BOX_CHARACTER, LABEL_CHARACTER = 7.6, 6.4
#: Between a label's end and the tip of its arrow, and between a label and its line.
TIP, ABOVE = 10, 3


@dataclass(frozen=True, slots=True)
class ArrowPath:
    """The way of an arrow.

    Attributes:
        start: its first point.
        steps: for each part, its points after the one before: one is a straight line, three are a
            Bezier curve.
        label: the right end of its label's line of text.
    """

    start: Point
    steps: tuple[tuple[Point, ...], ...]
    label: Point


@dataclass(slots=True)
class _Band:
    """Columns side by side.

    Attributes:
        top: of its boxes.
        rows: in its highest column.
        corridor: arrows in the corridor under it.
    """

    top: int = 0
    rows: int = 1
    corridor: int = 0


class Layout:
    """The layout of a picture.

    Args:
        picture: to lay out.
        page: its greatest width in pixels; a picture of a single column may be wider.

    Attributes:
        columns: in a band.
        box_width, box_height: of every box.
        width, height: of the whole picture.
    """

    def __init__(self, picture: Picture, page: int = PAGE) -> None:
        self._picture = picture
        self._cells = picture.cells()
        lines = [line for box in picture.boxes.values() for line in box.lines]
        self.box_width = max([WIDTH, *(round(columns_of(line) * BOX_CHARACTER / 2) * 2 + 20 for line in lines)])  # even: it has a middle
        labels = [round(columns_of(arrow.label) * LABEL_CHARACTER) for arrow in picture.arrows]
        self._label_zone = max(labels, default=0) + 2 * TIP
        self._ways = {arrow.id: [self._cells[arrow.source], *arrow.via, self._cells[arrow.target]] for arrow in picture.arrows}
        every = [cell for way in self._ways.values() for cell in way] + list(self._cells.values())
        layers = max((layer for layer, _ in every), default=0) + 1
        self.columns = self._columns(layers, page)
        self._rows = {layer: max((row for at, row in every if at == layer), default=0) + 1 for layer in range(layers)}
        self._ports = self._make_ports()
        most = max((count for _, count in self._ports.values()), default=1)
        self.box_height = max(HEIGHT, most * LANE + 10)
        self._lanes = self._make_lanes(layers)
        aside = self._lanes_aside()
        self._left = MARGIN + (self._gap if "left" in aside else 0)
        columns = min(layers, self.columns)
        right = MARGIN + (BEND if "right" in aside else 0)
        self.width = self._left + columns * self.box_width + (columns - 1) * self._gap + right
        self.height = self._stack()

    @property
    def _gap(self) -> int:
        return BEND + self._label_zone

    def _columns(self, layers: int, page: int) -> int:
        """Return the columns of a band: as many as fit, evenly spread."""
        step = self.box_width + self._gap
        forward = all(following[0] == cell[0] + 1 for _, _, cell, following in self._parts())
        if forward and 2 * MARGIN + layers * step - self._gap <= page:
            return layers
        fit = max(1, (page - 2 * MARGIN - BEND) // step)  # with space for arrows that turn beside the first and last column
        return -(-layers // -(-layers // fit))

    def band(self, layer: int) -> int:
        """Return the number of a layer's band."""
        return layer // self.columns

    def middle(self, key: str) -> Point:
        """Return the middle of a box or open end."""
        return self._middle(*self._cells[key])

    def box(self, key: str) -> tuple[int, int, int, int]:
        """Return the left, top, width and height of a box."""
        x, y = self.middle(key)
        return x - self.box_width // 2, y - self.box_height // 2, self.box_width, self.box_height

    def route(self, arrow: Arrow) -> ArrowPath:
        """Return the way of an arrow, from the edge of one box to the edge of another."""
        way = self._ways[arrow.id]
        steps: list[tuple[Point, ...]] = []
        start = here = self._port(arrow, out=True)
        if arrow.source.startswith("open_"):  # to the edge of its column, since another's boxes are above and below
            here = (start[0] - OPEN + self.box_width // 2, start[1])
            steps.append((here,))
        for number, (cell, following) in enumerate(pairwise(way)):
            x, y = self._middle(*following)
            if following == way[-1] and number == len(way) - 2:
                x, y = self._port(arrow, out=False)
            else:
                x -= self.box_width // 2
            zone = self._label_zone + (self.box_width // 2 - OPEN if arrow.target.startswith("open_") and following == way[-1] else 0)
            if self._is_next(cell, following):
                bent = x - zone
                steps.append((((here[0] + bent) // 2, here[1]), ((here[0] + bent) // 2, y), (bent, y)))
            else:
                corridor, lane = self._lanes[arrow.id, number]
                out, into = here[0] + 8 + lane % 6 * 7, x - zone - 8 - lane % 6 * 7
                under = self._corridor_top(corridor) + lane * LANE
                steps += [((out, here[1]),), ((out, under),), ((into, under),), ((into, y),)]
            steps.append(((x, y),))
            if number < len(way) - 2:  # through a column, where it has a cell of its own
                x += self.box_width
                steps.append(((x, y),))
            here = (x, y)
        return ArrowPath(start, tuple(steps), (here[0] - TIP, here[1] - ABOVE))

    def _middle(self, layer: int, row: int) -> Point:
        band, step = self._bands[self.band(layer)], self.box_height + DOWN
        x = self._left + layer % self.columns * (self.box_width + self._gap) + self.box_width // 2
        return x, band.top + self.box_height // 2 + row * step + (band.rows - self._rows[layer]) * step // 2

    def _is_next(self, cell: tuple[int, int], following: tuple[int, int]) -> bool:
        return following[0] == cell[0] + 1 and self.band(cell[0]) == self.band(following[0])

    # ports: the lanes of a box's edge

    def _make_ports(self) -> dict[tuple[int, bool], tuple[int, int]]:
        """Return pipe, and whether it leaves -> its place on the edge of its box, of how many.

        Arrows that come from or go to a higher cell are higher; those through a corridor are last.
        """
        edges: dict[tuple[str, bool], list[tuple[bool, int, int]]] = {}
        for arrow in self._picture.arrows:
            way = self._ways[arrow.id]
            for key, out, cell, other in ((arrow.source, True, way[0], way[1]), (arrow.target, False, way[-1], way[-2])):
                near = self._is_next(cell, other) if out else self._is_next(other, cell)
                edges.setdefault((key, out), []).append((not near, other[1], arrow.id))
        return {
            (number, out): (place, len(arrows)) for (_, out), arrows in edges.items() for place, (*_, number) in enumerate(sorted(arrows))
        }

    def _port(self, arrow: Arrow, *, out: bool) -> Point:
        key = arrow.source if out else arrow.target
        x, y = self.middle(key)
        half = self.box_width // 2 if key.startswith("job_") else OPEN
        place, count = self._ports[arrow.id, out]
        return x + (half if out else -half), y + place * LANE - (count - 1) * LANE // 2

    # corridors

    def _make_lanes(self, layers: int) -> dict[tuple[int, int], tuple[int, int]]:
        """Return pipe and number of its part -> corridor and lane, for all parts that need one."""
        self._bands = [_Band() for _ in range(self.band(layers - 1) + 1)]
        for layer, rows in self._rows.items():
            band = self._bands[self.band(layer)]
            band.rows = max(band.rows, rows)
        lanes = {}
        for number, part, cell, following in self._parts():
            if not self._is_next(cell, following):
                first, last = self.band(cell[0]), self.band(following[0])
                corridor = last - 1 if last > first else last
                lanes[number, part] = (corridor, self._bands[corridor].corridor)
                self._bands[corridor].corridor += 1
        return lanes

    def _parts(self) -> Iterator[tuple[int, int, tuple[int, int], tuple[int, int]]]:
        for number, way in self._ways.items():
            for part, (cell, following) in enumerate(pairwise(way)):
                yield number, part, cell, following

    def _lanes_aside(self) -> set[str]:
        """Return the sides where arrows turn beside the first or last column."""
        sides = set()
        for number, part, cell, following in self._parts():
            if (number, part) in self._lanes:
                sides |= {"right"} if cell[0] % self.columns == self.columns - 1 else set()
                sides |= {"left"} if following[0] % self.columns == 0 else set()
        return sides

    def _stack(self) -> int:
        """Put the bands one under another; return the height of all."""
        top = MARGIN
        for band in self._bands:
            band.top = top
            top += band.rows * (self.box_height + DOWN)
            top += band.corridor * LANE + DOWN // 2 if band.corridor else 0
        return top - DOWN + MARGIN

    def _corridor_top(self, corridor: int) -> int:
        band = self._bands[corridor]
        return band.top + band.rows * (self.box_height + DOWN) - DOWN + LANE


def columns_of(text: str) -> int:
    """Return the columns that a text takes in a font of equal widths: two for an East Asian wide
    character.
    """
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
