"""``graph --format html`` in a real browser: its texts have the room that the layout gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab

from fission.project.drawing import html, picture_of
from tests.project.test_drawing import any_network, chain

#: Chromium's start counts into the first test's time, and takes long on a busy machine.
pytestmark = pytest.mark.timeout(120)

#: Rectangles of all boxes, with the widest text in each; those of all labels; and the page's width against the window's.
MEASURE = """() => {
    const at = one => { const r = one.getBBox(); return [r.x, r.y, r.x + r.width, r.y + r.height] };
    return {
        boxes: [...document.querySelectorAll(".job")].map(job => [
            at(job.querySelector("rect")), ...[...job.querySelectorAll("text")].map(at)]),
        labels: [...document.querySelectorAll("text.label")].map(at),
        beside: document.documentElement.scrollWidth - window.innerWidth,
    };
}"""


def is_inside(inner: list[float], outer: list[float]) -> bool:
    return outer[0] < inner[0] and outer[1] < inner[1] and inner[2] < outer[2] and inner[3] < outer[3]


def measured(tab: Tab, path: Path, width: int) -> dict[str, Any]:
    tab.set_viewport_size({"width": width, "height": 800})
    tab.goto(path.as_uri())
    found: dict[str, Any] = tab.evaluate(MEASURE)
    return found


@pytest.mark.parametrize("width", [400, 1400, 2000])
def test_a_chain_of_seven_fits_the_window(tab: Tab, tmp_path: Path, width: int) -> None:
    path = tmp_path / "net.html"
    path.write_text(html(picture_of(chain(7), {1: "board with a long name", 2: "b"})), "utf-8")
    found = measured(tab, path, width)
    assert found["beside"] <= 0
    assert len(found["boxes"]) == 7
    assert len(found["labels"]) == 6
    if width >= 1400:
        assert (
            tab.evaluate(
                "document.querySelector('svg').getBoundingClientRect().width / document.querySelector('svg').viewBox.baseVal.width"
            )
            == 1
        )


@pytest.mark.parametrize("seed", range(6))
def test_texts_have_their_room(tab: Tab, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "net.html"
    path.write_text(html(picture_of(any_network(seed))), "utf-8")
    found = measured(tab, path, 1400)
    assert found["beside"] <= 0
    for box, *texts in found["boxes"]:
        assert all(is_inside(text, box) for text in texts)
    boxes = [box for box, *_ in found["boxes"]]
    for number, label in enumerate(found["labels"]):
        shorter = [label[0], label[1] + 2, label[2], label[3] - 2]  # letters do not fill their line
        others = boxes + [[a, b + 2, c, d - 2] for a, b, c, d in found["labels"][number + 1 :]]
        for other in others:
            assert shorter[2] <= other[0] or other[2] <= shorter[0] or shorter[3] <= other[1] or other[3] <= shorter[1]
