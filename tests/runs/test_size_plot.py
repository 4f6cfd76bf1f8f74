"""The picture of figures against sizes: where its dots and lines lie, and that it is sound XML."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from desed_task.runs.size_plot import draw_sizes

SVG = "{http://www.w3.org/2000/svg}"


def drawn(curves: dict[str, dict[int, list[float]]]) -> ElementTree.Element:
    return ElementTree.fromstring(draw_sizes(curves, "mAP", "training clips"))


def line(picture: ElementTree.Element, number: int = 0) -> list[tuple[float, float]]:
    points = picture.findall(f"{SVG}polyline")[number].attrib["points"].split()
    return [(float(x), float(y)) for x, y in (point.split(",") for point in points)]


def test_each_doubling_is_as_far_and_what_is_higher_stands_higher() -> None:
    picture = drawn({"best on eval": {1000: [0.2], 500: [0.1], 2000: [0.25]}})
    (x1, y1), (x2, y2), (x3, y3) = line(picture)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(2 * (y2 - y3), abs=0.2)
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert [text for text in texts if text in ("500", "1,000", "2,000")] == ["500", "1,000", "2,000"]
    assert {"mAP", "training clips", "best on eval"} <= set(texts)


def test_the_line_goes_through_the_means_and_every_run_is_a_dot() -> None:
    picture = drawn({"best on eval": {100: [0.1, 0.3], 200: [0.4, 0.4]}})
    titles = [title.text for title in picture.iter(f"{SVG}title")]
    assert titles == ["100 clips: 0.200 +- 0.141 over 2 runs", "200 clips: 0.400 +- 0.000 over 2 runs"]
    dots = [circle for circle in picture.iter(f"{SVG}circle") if circle.attrib["r"] == "2.5"]
    assert len(dots) == 4
    (_, mean), _ = line(picture)
    assert mean == pytest.approx((float(dots[0].attrib["cy"]) + float(dots[1].attrib["cy"])) / 2, abs=0.2)


def test_one_size_is_in_the_middle_and_names_are_escaped() -> None:
    picture = drawn({"<best> & on eval": {100: [0.5]}})
    ((x, _),) = line(picture)
    assert x == pytest.approx(60 + 0.5 * (640 - 60 - 20))
    assert "<best> & on eval" in [text.text for text in picture.iter(f"{SVG}text")]


def test_everything_lies_within_the_picture() -> None:
    picture = drawn({f"line {n}": {10 * 4**k: [0.1 * n, 0.1 * n + 0.04 * k] for k in range(4)} for n in range(8)})
    width, height = (float(picture.attrib[side]) for side in ("width", "height"))
    for element in picture.iter():
        for key, most in (("x", width), ("cx", width), ("x1", width), ("y", height), ("cy", height), ("y2", height)):
            assert 0 <= float(element.attrib.get(key, 0.0)) <= most
    assert all(math.isfinite(value) for point in line(picture, 7) for value in point)
