"""Hooks of mkdocs that collect the pages of the site and rewrite their links.

The pages are those of the repository: README.md (the front page), what its table "More" names, in that order, and a
reference of each room of the package, made of its docstrings. Links between pages stay links; links to other files of
the repository become their text, since the site does not have them.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ROOMS = (
    "schema",
    "experiment",
    "preparation",
    "report",
    "data",
    "datasets",
    "layers",
    "optimizers",
    "losses",
    "metrics",
    "models",
    "training",
    "evaluation",
    "explanation",
    "saved_model",
    "server",
)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```.*?^```[ \t]*)$", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Sets the order of the pages to that of README.md."""
    table = (ROOT / "README.md").read_text("utf-8").split("## More", 1)[1]
    named = re.findall(r"^\| \[([^\]]+)\]\(([^)]+)\)", table, re.MULTILINE)
    pages = [{"Overview": "index.md"}, *({title: _page(path)} for title, path in named), {"Changes": "CHANGELOG.md"}]
    config.nav = [*pages, {"Reference": ["api/index.md", *(f"api/{room}.md" for room in ROOMS)]}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages outside docs/, and the reference."""
    for name in ("README.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        files.append(File.generated(config, _page(name), content=(ROOT / name).read_text("utf-8")))
    files.append(File.generated(config, "api/index.md", content=_reference("atrank_tf")))
    for room in ROOMS:
        files.append(File.generated(config, f"api/{room}.md", content=_reference(f"atrank_tf.{room}")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites the links of a page to the pages of the site."""
    own = page.file.src_uri
    if own.startswith("api/"):
        return markdown
    folder = "" if own in ("index.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md") else "docs"

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        if not (ROOT / target).is_file() or not target.endswith(".md"):
            return link[1]
        return f"[{link[1]}]({_page(target)}{link[3] or ''})"

    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(led, part).replace('src="docs/', 'src="') for part in parts[::2]]
    # What the tests know more of a block is nothing to mkdocs, which knows no blocks of that name.
    parts[1::2] = [re.sub("^```(?:output|(python) no-run)", r"```\1", part) for part in parts[1::2]]
    return "".join(parts)


def _page(path: str) -> str:
    """Returns the path on the site of a page of the repository."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def _reference(module: str) -> str:
    """Returns a page with the docstring of a module and of everything in its `__all__`."""
    tree = ast.parse((ROOT / module.replace(".", "/") / "__init__.py").read_text("utf-8"))
    lists = (node.value for node in tree.body if isinstance(node, ast.Assign) and _names(node) == ["__all__"])
    names = [name for public in lists for name in ast.literal_eval(public) if name not in ROOMS]
    about = ast.get_docstring(tree) or ""
    return "\n\n".join([f"# {module}", about, *(f"::: {module}.{name}" for name in sorted(names))]) + "\n"


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]
