"""What is drawn of a two-dimensional array: a picture of bounded size. No I/O.

numpy must be installed; it is imported when it is needed.
"""

from __future__ import annotations

from typing import Any

from fission.dashboard.tap_signal import finite, text_of_bytes

#: Most pixels in each direction; arbitrary: about those of a panel.
MOST_PIXELS = 256
#: Sizes of the last axis of a colour picture: red, green, blue, and opacity.
COLOURS = (3, 4)


def image_of(array: Any) -> dict[str, Any]:
    """Return a picture of an array of numbers with two or more dimensions, none of them empty.

    An array of uint8 whose last axis has 3 or 4 elements is one in colour. Of other arrays of more
    than two dimensions, the first element of each leading axis is taken. Larger pictures are
    reduced: a pixel is the mean of what it covers, or of some of that. Of complex numbers, the
    magnitudes are taken.

    Returns:
        "pixels" has one byte (0: "low", 255: "high") or three of each pixel, in rows.
    """
    import numpy

    coloured = array.ndim == 3 and array.dtype == numpy.uint8 and array.shape[2] in COLOURS
    note = ""
    if coloured:
        array = array[:, :, :3]
    elif array.ndim > 2:
        note = f"of {array.ndim} dimensions, the last two are shown, at the beginning of the others"
        array = array[(0,) * (array.ndim - 2)]
    height, width = array.shape[:2]
    array = array[:: 1 + height // (4 * MOST_PIXELS), :: 1 + width // (4 * MOST_PIXELS)]
    if coloured:
        levels, low, high, odd = _reduced(array.astype(numpy.float64)), 0.0, 255.0, 0
    else:
        numbers, odd = finite(numpy.abs(array) if array.dtype.kind == "c" else array)
        scale = max(float(numpy.abs(numbers).max()), 1e-300)  # differences and sums of large numbers would overflow
        reduced = _reduced(numbers / scale)
        least, most = float(reduced.min()), float(reduced.max())
        levels, low, high = (reduced - least) / ((most - least) or 1.0) * 255, least * scale, most * scale
    content = text_of_bytes(levels.round().astype(numpy.uint8).tobytes())
    found = {"width": levels.shape[1], "height": levels.shape[0], "of": [width, height], "colours": 3 if coloured else 1}
    return {**found, "low": low, "high": high, "odd": odd, "note": note, "pixels": content}


def _reduced(numbers: Any) -> Any:
    """Return means over cells, so that there are at most `MOST_PIXELS` in each of the first two directions."""
    import numpy

    for axis in (0, 1):
        size = numbers.shape[axis]
        if size > MOST_PIXELS:
            starts = numpy.linspace(0, size, MOST_PIXELS, endpoint=False).astype(int)
            counts = numpy.diff(numpy.append(starts, size))
            sums = numpy.add.reduceat(numbers, starts, axis=axis)
            numbers = sums / counts.reshape((-1, *[1] * (numbers.ndim - 1 - axis)))
    return numbers
