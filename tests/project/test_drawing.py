"""Where the elements of pictures lie, for networks of every shape."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest

from fission.core.jobs import ForwardingJob
from fission.core.network import Network
from fission.core.pipes import OptionalPicklePipe, PicklePipe
from fission.core.registry import collecting
from fission.project import drawing
from fission.project.drawing import Arrow, ArrowPath, Layout, Picture, PictureOptions, picture_of, svg
from fission.project.drawing.layout import ABOVE, LABEL_CHARACTER, PAGE, TIP, columns_of

Rectangle = tuple[float, float, float, float]
Point = tuple[float, float]


class FeedbackOfTheLastRoundPipe(OptionalPicklePipe):
    OPTIONAL_DEFAULT = 0


def network_of(jobs: int, pipes: list[tuple[int, int]], title: str = "") -> Network:
    """Return a network with a pipe for each pair of jobs, counted from 0; -1: an open end."""
    with collecting() as registry:
        inputs: dict[int, list[PicklePipe]] = {}
        outputs: dict[int, list[PicklePipe]] = {}
        for number, (source, target) in enumerate(pipes, 1):
            kind = FeedbackOfTheLastRoundPipe if 0 <= target <= source else PicklePipe
            if source >= 0:
                outputs.setdefault(source, []).append(kind(number))
            if target >= 0:
                inputs.setdefault(target, []).append(kind(number))
        for job in range(jobs):
            ForwardingJob(inputs=inputs.get(job, []), outputs=outputs.get(job, []), name=f"{title}{job}" if title else None)
    return Network.from_registry("net", registry)


def chain(jobs: int) -> Network:
    return network_of(jobs, list(pairwise(range(jobs))))


def any_network(seed: int) -> Network:
    """Return a network of up to 14 jobs: mostly forward pipes, some feedback, some pipes side by side, some open ends."""
    chance = random.Random(seed)
    jobs = chance.randint(1, 14)
    pipes = []
    for job in range(1, jobs):
        for _ in range(chance.choice((1, 1, 1, 2))):
            pipes.append((chance.randrange(max(0, job - chance.choice((1, 2, job))), job), job))
    pipes += [(chance.randrange(jobs), -1) for _ in range(chance.choice((0, 0, 1)))]
    pipes += [(-1, chance.randrange(jobs)) for _ in range(chance.choice((0, 0, 1)))]
    for _ in range(chance.choice((0, 0, 1, 2))):
        later = chance.randrange(jobs)
        pipes.append((later, chance.randrange(later + 1)))
    return network_of(jobs, pipes, title=chance.choice(("", "Rather long names ", "マイクロホン")))


def points_of(route: ArrowPath, each: int = 24) -> Iterator[Point]:
    """The points of an arrow, near one another."""
    here: Point = route.start
    for step in route.steps:
        for number in range(1, each + 1):
            t = number / each
            curve = [here, *step]
            while len(curve) > 1:  # de Casteljau
                curve = [(x1 + (x2 - x1) * t, y1 + (y2 - y1) * t) for (x1, y1), (x2, y2) in pairwise(curve)]
            yield curve[0]
        here = step[-1]


def inside(point: Point, rectangle: Rectangle) -> bool:
    left, top, right, bottom = rectangle
    return left < point[0] < right and top < point[1] < bottom


def overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def label_of(arrow: Arrow, route: ArrowPath) -> Rectangle:
    x, y = route.label
    return (x - columns_of(arrow.label) * LABEL_CHARACTER, y - 9, x, y + 1)


def faults_of(picture: Picture, layout: Layout) -> list[str]:
    """What lies on what, or outside."""
    boxes = {}
    for box in picture.boxes.values():
        left, top, width, height = layout.box(box.key)
        boxes[box.key] = (float(left), float(top), float(left + width), float(top + height))
    for key in picture.open_ends:
        x, y = layout.middle(key)
        boxes[key] = (x - 12.0, y - 12.0, x + 12.0, y + 12.0)
    routes = {arrow.label: layout.route(arrow) for arrow in picture.arrows}
    lines = {name: list(points_of(route)) for name, route in routes.items()}
    labels = {arrow.label: label_of(arrow, routes[arrow.label]) for arrow in picture.arrows}
    page = (0.0, 0.0, float(layout.width), float(layout.height))
    found = [f"{one} on {other}" for one, other in combinations(boxes, 2) if overlap(boxes[one], boxes[other])]
    found += [f"line {name} on {key}" for name, line in lines.items() for key, box in boxes.items() if any(inside(at, box) for at in line)]
    found += [f"label {name} on {key}" for name, label in labels.items() for key, box in boxes.items() if overlap(label, box)]
    found += [f"label {one} on label {other}" for one, other in combinations(labels, 2) if overlap(labels[one], labels[other])]
    found += [f"line {name} on label {label}" for name in lines for label in labels if any(inside(at, labels[label]) for at in lines[name])]
    found += [f"line {name} outside" for name, line in lines.items() if not all(inside(at, page) for at in line)]
    found += [f"{key} outside" for key, box in {**boxes, **labels}.items() if not (inside(box[:2], page) and inside(box[2:], page))]
    return found


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_nothing_lies_on_anything(first: int) -> None:
    for seed in range(first, first + 30):
        picture = picture_of(any_network(seed))
        layout = Layout(picture)
        assert faults_of(picture, layout) == [], f"network {seed}"
        assert layout.width <= PAGE or layout.columns == 1, f"network {seed}"


def test_straight_arrows_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken variant: arrows straight from box to box, labels at their middle."""

    def straight(self: Layout, arrow: Arrow) -> ArrowPath:
        (x1, y1), (x2, y2) = self._port(arrow, out=True), self._port(arrow, out=False)
        return ArrowPath((x1, y1), (((x2, y2),),), ((x1 + x2) // 2, (y1 + y2) // 2))

    monkeypatch.setattr(Layout, "route", straight)
    pictures = [picture_of(any_network(seed)) for seed in range(30)]
    faults = {fault.split()[0] for picture in pictures for fault in faults_of(picture, Layout(picture))}
    assert {"line", "label"} <= faults


@pytest.mark.parametrize("jobs", [1, 2, 7, 40])
def test_a_long_chain_is_folded(jobs: int) -> None:
    picture = picture_of(chain(jobs))
    layout = Layout(picture)
    assert layout.width <= PAGE
    columns = {layout.box(box.key)[0] for box in picture.boxes.values()}
    rows = {layout.box(box.key)[1] for box in picture.boxes.values()}
    assert len(columns) * len(rows) - jobs < len(rows)  # as full as possible
    assert (len(rows) > 1) == (jobs > 4)


def test_a_page_of_another_width() -> None:
    picture = picture_of(chain(7))
    assert len({Layout(picture, page).columns for page in (500, 900, 1320, 4000)}) == 4
    assert Layout(picture, 10).columns == 1


def test_pipes_side_by_side_have_lanes_of_their_own() -> None:
    picture = picture_of(network_of(2, [(0, 1)] * 9))
    layout = Layout(picture)
    assert len({layout.route(arrow).steps[-1][-1][1] for arrow in picture.arrows}) == 9
    assert layout.box_height >= 8 * 15


def test_the_texts_of_a_look() -> None:
    network = chain(3)
    plain = picture_of(network)
    options = picture_of(network, {0: "a"}, PictureOptions('A "title" & <more>', pipe_class=False, by="name"))
    assert [arrow.label for arrow in plain.arrows] == ["1 PicklePipe", "2 PicklePipe"]
    assert [arrow.label for arrow in options.arrows] == ["1", "2"]
    assert list(options.groups) == ["ForwardingJob"]
    assert (plain.heading, options.heading) == ("net", 'A "title" & <more>')
    assert drawing.mermaid(plain).startswith("graph LR\n")
    assert drawing.mermaid(options).startswith('---\ntitle: "A \\"title\\" & <more>"\n---\ngraph LR\n')
    assert '  label="A \\"title\\" & <more>" labelloc=t\n' in drawing.dot(options)
    assert "labelloc" not in drawing.dot(plain)
    for text in (svg(options), drawing.html(options)):
        assert "A &quot;title&quot; &amp; &lt;more&gt;</" in text
        assert "<more>" not in text


def test_graphviz_gets_the_folds_too() -> None:
    assert drawing.dot(picture_of(chain(4))).count("constraint=false") == 0
    assert drawing.dot(picture_of(chain(7))).count("constraint=false") == 1


def test_the_space_of_a_label_is_that_of_its_text() -> None:
    (arrow,) = picture_of(chain(2)).arrows
    route = Layout(picture_of(chain(2))).route(arrow)
    (x, y), (bent, _) = route.steps[-1][-1], route.steps[0][-1]
    assert route.label == (x - TIP, y - ABOVE)
    assert bent <= label_of(arrow, route)[0]
