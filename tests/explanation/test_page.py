"""The page holds its data as data: no name in it can become anything else."""

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.explanation import write_page
from atrank_tf.explanation.page import embedded, fill

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "{{script}}",
    "\\1 \\g<0>",
    "\u2028\u2029",
    "\"'&amp;",
    "\ud7ff\U0001f600",
]


class _Scripts(html.parser.HTMLParser):
    """The tags of a page and what stands in its scripts, as a browser divides it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.get_starttag_text():
            self.scripts[-1] += data


def _page(data: Any) -> str:
    return fill("page.html", ["drawing.js", "page.js"], data)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_a_name(name: str) -> None:
    data = {"about": name, name: [name]}
    found = _Scripts(_page(data))
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert json.loads(found.scripts[0]) == data
    assert "drawExplanation" in found.scripts[1]


def test_embedded_data_is_ascii_where_a_tag_could_be() -> None:
    assert embedded({"a": "</ScRiPt>&\u2028é"}) == '{"a":"\\u003c/ScRiPt\\u003e\\u0026\\u2028é"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded(float("nan"))


def test_nothing_runs_or_loads_but_what_the_page_was_written_with() -> None:
    text = _page({})
    policy = next(a["content"] for tag, a in _Scripts(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "unsafe" not in policy and policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]  # type: ignore[index]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "import "):
        assert way not in text


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_page(str(tmp_path / "index.html"), [], [], "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    data: Any = json.loads(_Scripts((tmp_path / "index.html").read_text("utf-8")).scripts[0])
    assert data["about"] == "nothing" and data["explanations"] == []
    assert data["spaces"][0][:2] == ["attention", "space"]
