"""Parts of pages: a document that needs nothing else and runs nothing, its sections and tables; templates."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources


def document(title: str, sections: Iterable[str]) -> str:
    """Returns a page; what is in it must be escaped already. A policy lets nothing load or run."""
    style = _read("page.css")
    parts = {"policy": allowed(style), "style": style, "title": escape(title), "body": "\n".join(sections)}
    return filled(_read("page.html"), parts)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Returns a template with a part in each place `{{name}}`; what a part says is not looked at again."""
    return re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], template)


def allowed(content: str) -> str:
    """Returns the source of a content security policy that allows a style or script with just this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def section(title: str, *content: str) -> str:
    """Returns a section under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def figures(charts: Iterable[str]) -> str:
    """Returns figures side by side, as many as there is room for."""
    return f'<div class="charts">{"".join(charts)}</div>'


def table(heads: Sequence[str], rows: Iterable[str], text: Iterable[int] = ()) -> str:
    """Returns a table that scrolls by itself where it is wide; `text`: which columns hold words, not numbers."""
    columns = set(text)
    head = "".join(
        f'<th class="text">{escape(head)}</th>' if index in columns else f"<th>{escape(head)}</th>"
        for index, head in enumerate(heads)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def row(name: str, cells: Iterable[str], *, raw: bool = False) -> str:
    """Returns a row of a table: its name, and cells of text; of HTML where `raw`."""
    return f"<tr>{row_name(name)}{''.join(f'<td>{cell if raw else escape(cell)}</td>' for cell in cells)}</tr>"


def row_name(text: str) -> str:
    """Returns the cell that names a row."""
    return f"<th>{escape(text)}</th>"


def text_cell(text: str) -> str:
    """Returns a cell of words."""
    return f'<td class="text">{escape(text)}</td>'


def share(found: int, of: int) -> str:
    """Returns a share as text, "none" of nothing."""
    return f"{found / of:.2%}" if of else "none"


def _read(name: str) -> str:
    return resources.files("atrank_tf.pages").joinpath(name).read_text("utf-8")
