"""Charts stand where their numbers are."""

import itertools
import re

import pytest

from atrank_tf.pages import against_diagonal, bars, curve, dots, lines


def test_bars_are_shares_of_each_series_and_empty_ends_are_left_out():
    figure = bars("a title", ["0", "1", "2 to 3", "4"], {"x": [0, 1, 3, 0], "y": [0, 5, 0, 0]})
    titles = re.findall(r"<title>(.*?)</title>", figure)
    assert titles == ["1: 25.00% of x", "2 to 3: 75.00% of x", "1: 100.00% of y", "2 to 3: 0.00% of y"]
    heights = [float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"', figure)]
    assert heights[:3] == pytest.approx([heights[2] / 4, heights[2] * 3 / 4, heights[2]], abs=0.01)
    assert re.findall(r"<li class=\"s\d\">(.*?)</li>", figure) == ["x", "y"]


def test_labels_stand_apart():
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    places = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="172"', bars("days", days, {"": [1] * 30}))]
    assert 1 < len(places) < 5
    assert min(b - a for a, b in itertools.pairwise(places)) > 10 * 7


def test_a_chart_of_nothing_is_nothing():
    assert bars("nothing", ["a"], {"": [0]}) == bars("nothing", [], {"": []}) == curve("nothing", []) == ""
    assert lines("nothing", [], {}) == lines("nothing", ["1"], {"x": [None]}) == dots("nothing", ["x"], []) == ""
    assert against_diagonal("nothing", []) == against_diagonal("nothing", [(0.0, 0.0, "")]) == ""


def test_lines_go_through_their_points_on_round_numbers():
    figure = lines("a title", ["1", "2", "3"], {"x": [0.71, None, 0.79], "y": [0.75, 0.75, 0.75]})
    assert re.findall(r'text-anchor="end">(.*?)</text>', figure) == ["0.7", "0.75", "0.8"]
    found = re.findall(r'points="(.*?)"', figure)
    assert [len(points.split()) for points in found] == [2, 3]
    heights = [float(point.split(",")[1]) for point in found[1].split()]
    assert heights == pytest.approx([8 + (180 - 8 - 26) / 2] * 3, abs=0.01)  # 0.75 is the middle.
    assert "<title>x, 3: 0.7900</title>" in figure


def test_dots_stand_on_one_scale_with_their_errors():
    rows = [("a", "12", [(0.5, 0.1), (0.9, float("nan"))]), ("b" * 50, "3", [(0.7, 0.0), None])]
    figure = dots("a title", ["x", "y"], rows)
    xs = {
        name: float(x)
        for name, x in re.findall(r"<title>([^<]*)</title><line[^>]*/><circle[^>]* cx=\"([\d.]+)\"", figure)
    }
    a, b, c = xs["a, x: 0.5000 ±0.1000"], xs["a, y: 0.9000 ±nan"], xs[f"{'b' * 50}, x: 0.7000 ±0.0000"]
    assert c == pytest.approx((a + b) / 2, abs=0.02)
    assert ">12</text>" in figure and f">{'b' * 37}\u2026</text>" in figure
    lengths = [float(end) - float(begin) for begin, end in re.findall(r'"error" x1="([\d.]+)" x2="([\d.]+)"', figure)]
    assert lengths == pytest.approx([0.0, (b - a) / 2, 0.0], abs=0.02)  # Of one value alone there is no error.


def test_what_is_as_predicted_stands_on_the_diagonal():
    points = [(0.001, 0.001, "low"), (0.1, 0.1, "middle"), (0.5, 0.0, "never")]
    figure = against_diagonal("a title", points)
    assert re.findall(r'text-anchor="end">(.*?)</text>', figure) == ["0.1%", "1%", "10%", "100%"]
    placed = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', figure)]
    width, height = 360 - 44 - 6, 180 - 8 - 26
    assert placed[0] == pytest.approx((44, 8 + height), abs=0.01)
    assert placed[1] == pytest.approx((44 + width * 2 / 3, 8 + height / 3), abs=0.01)
    assert placed[2][1] == pytest.approx(8 + height, abs=0.01)  # What never happened has no logarithm.
