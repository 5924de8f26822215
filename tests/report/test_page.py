"""The page: works from a file, runs and loads nothing, and no name in it becomes anything else."""

import base64
import hashlib
import html.parser
import itertools
import re
import shutil
from pathlib import Path

import pytest

from atrank_tf.report import load_report
from atrank_tf.report.charts import bars, curve
from atrank_tf.report.page import page

HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>{{style}}\"'&amp;"


class Page(html.parser.HTMLParser):
    """The tags and the texts of a page, as a browser divides it."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def report(records):
    return load_report(records.path)


def renamed(value, old, new):
    """Returns JSON types with another name in every key and text."""
    if isinstance(value, dict):
        return {renamed(key, old, new): renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, old, new) for item in value]
    return value.replace(old, new) if isinstance(value, str) else value


def test_every_tag_is_closed_and_everything_is_told(report):
    found = Page(page(report))
    assert found.open == []
    text = " ".join(found.texts)
    for word in ("Group purchase", "Group redemption", "Task next_purchase", "Task next_redemption", "60 users"):
        assert word in text
    assert [tag for tag, _ in found.tags].count("svg") == 1 + 2 * 4 + 2 * 4


@pytest.mark.parametrize("name", ["next_purchase", "purchase", "discounted", "channel", "behaviors/redemption"])
def test_a_hostile_name_stays_a_name(report, name):
    found = Page(page(renamed(report, name, HOSTILE)))
    assert not {"script", "img"} & {tag for tag, _ in found.tags}
    assert HOSTILE in " ".join(found.texts)


def test_nothing_loads_or_runs(report):
    text = page(report)
    tags = Page(text).tags
    policy = next(a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    assert not [a for _, a in tags if {"src", "style", "onclick", "onload"} & set(a)]
    assert "http" not in text.replace("http-equiv", "")


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


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser_nothing_is_refused_and_nothing_stands_out(report, tmp_path, width, scheme):
    api = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    path = Path(tmp_path / "report.html")
    path.write_text(page(renamed(report, "next_purchase", HOSTILE)))
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = opened.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()
        complaints = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        colors = tab.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
        opened.close()
    assert complaints == []
    light, dark = sorted(colors, key=lambda color: -sum(map(int, re.findall(r"\d+", color))))
    assert colors == ([dark, light] if scheme == "light" else [light, dark])
