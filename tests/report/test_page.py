"""The page: works from a file, runs and loads nothing, and no name in it becomes anything else."""

import re
from pathlib import Path

import pytest
from parsed_page import HOSTILE, Page, assert_nothing_loads_or_runs

from atrank_tf.report import load_report
from atrank_tf.report.page import page


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
    assert_nothing_loads_or_runs(page(report))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser_nothing_is_refused_and_nothing_stands_out(browser, report, tmp_path, width, scheme):
    path = Path(tmp_path / "report.html")
    path.write_text(page(renamed(report, "next_purchase", HOSTILE)))
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.goto(path.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    colors = tab.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    context.close()
    assert complaints == []
    light, dark = sorted(colors, key=lambda color: -sum(map(int, re.findall(r"\d+", color))))
    assert colors == ([dark, light] if scheme == "light" else [light, dark])
