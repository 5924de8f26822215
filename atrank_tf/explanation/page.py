"""Report page: explanations in one HTML file that needs no server and no network."""

import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from atrank_tf.explanation.spaces import MEASURES, Focus, focus_table
from atrank_tf.files import write_text
from atrank_tf.pages import allowed, filled


def write_page(path: str, explanations: Sequence[dict[str, Any]], focuses: Sequence[Focus], about: str) -> None:
    """Writes a page on which one picks a request and looks at its scores, attention and effects.

    The page works offline, from a file. Its content security policy lets nothing run or load but what is in the file,
    and ids and names get into it as text.

    Args:
        path: the HTML file.
        explanations: results of `explanation_to_json`.
        focuses: results of `measure_spaces`.
        about: a line about what was explained.
    """
    data = {
        "about": about,
        "explanations": list(explanations),
        "spaces": focus_table(focuses),
        "measures": "; ".join(f"{name}: {meaning}" for name, meaning in MEASURES.items()) + ".",
    }
    write_text(path, fill("page.html", ["drawing.js", "page.js"], data))


def fill(template: str, scripts: Sequence[str], data: Any, *, connect: str = "'none'") -> str:
    """Fills an HTML template of this folder with styles, scripts, data, and a policy that allows nothing else.

    Args:
        template: HTML file of this folder with the places `policy`, `style`, `script` and `data`.
        scripts: JavaScript files of this folder.
        data: JSON types.
        connect: where scripts may connect to, in the syntax of a content security policy.
    """
    style, script = _read("page.css"), "".join(map(_read, scripts))
    policy = f"default-src 'none'; img-src data:; style-src {allowed(style)}; script-src {allowed(script)}"
    parts = {
        "policy": f"{policy}; connect-src {connect}; base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "data": embedded(data),
    }
    return filled(_read(template), parts)


def embedded(data: Any) -> str:
    """Returns JSON, escaped for a script tag: no text in it ends the tag or begins a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub(r"[<>&\u2028\u2029]", lambda character: f"\\u{ord(character[0]):04x}", text)


def _read(name: str) -> str:
    return resources.files("atrank_tf.explanation").joinpath(name).read_text("utf-8")
