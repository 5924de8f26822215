"""A page as a browser divides it, and what tells whether it would load or run anything."""

import base64
import hashlib
import html.parser
import re

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


def assert_nothing_loads_or_runs(text):
    tags = Page(text).tags
    policy = next(a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    assert not [a for _, a in tags if {"src", "style", "onclick", "onload"} & set(a)]
    assert "http" not in text.replace("http-equiv", "")
