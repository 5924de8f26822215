"""What the documentation promises: its examples run, its links lead somewhere, its references name every key.

A ```python block is executed; the blocks of one page share a namespace and run in order, in a folder with `logs/`,
`schema.toml` and `records/` of `tests/conftest.py`. A block marked `python no-run` is only compiled. A block marked
`output` right after a python block is what that block prints; `...` stands for anything.
"""

import dataclasses
import doctest
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from atrank_tf import schema
from atrank_tf.experiment import Batching, RankerConfig, Training, experiment_from_dict
from atrank_tf.models import MODELS
from atrank_tf.schema import plain, schema_from_dict
from atrank_tf.server import RestApi, ServedModel

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
RUNNER = """
import contextlib, io, json, os, pathlib, sys, traceback
os.chdir(sys.argv[1])
page, blocks = json.loads(pathlib.Path("examples.json").read_text())
namespace, printed = {"__name__": "__main__"}, []
try:
    for line, code in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\\n" * line + code, page, "exec"), namespace)
        printed.append(out.getvalue())
    json.dump(printed, open("printed.json", "w"))
except BaseException:
    open("error.txt", "w").write(traceback.format_exc())
"""


class Block(NamedTuple):
    """A fenced block: what stands behind its ```, its text, and how many lines of the page are before the text."""

    info: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    return [Block(m[1].strip(), m[2], text.count("\n", 0, m.start(2))) for m in FENCE.finditer(text)]


def blocks_of(info: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page}:{block.line}") for page in PAGES for block in blocks(page) if block.info == info
    ]


PAGES_WITH_EXAMPLES = [page for page in PAGES if any(block.info == "python" for block in blocks(page))]


@pytest.fixture(scope="module")
def run_page(
    logs: Path,
    schema_file: Path,
    records: Any,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """A function page -> the folder in which its examples ran, with what they printed, or their error."""

    def run(page: str) -> Path:
        folder = tmp_path_factory.mktemp("page")
        shutil.copytree(logs, folder / "logs")
        shutil.copytree(records.path, folder / "records")
        shutil.copy(schema_file, folder / "schema.toml")
        code = [(block.line, block.text) for block in blocks(page) if block.info == "python"]
        (folder / "examples.json").write_text(json.dumps([page, code]))
        done = run_command("-c", RUNNER, folder)
        assert done.returncode == 0, done.stderr[-4000:]
        return folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES)
def test_examples_run_and_print_what_the_page_says(page: str, run_page: Callable[[str], Path]) -> None:
    folder = run_page(page)
    error = folder / "error.txt"
    if error.exists() and "No module named 'lightgbm'" in error.read_text():
        pytest.skip("needs the package lightgbm (extra experiments)")
    assert not error.exists(), error.read_text()[-4000:]
    printed = json.loads((folder / "printed.json").read_text())
    parts = blocks(page)
    code = [place for place, block in enumerate(parts) if block.info == "python"]
    for place, found in zip(code, printed, strict=True):
        if parts[place + 1 : place + 2] and parts[place + 1].info == "output":
            expected = parts[place + 1].text
            assert doctest.OutputChecker().check_output(expected, found, doctest.ELLIPSIS), (
                f"{page}, line {parts[place + 1].line}: the example printed\n{found}"
            )


@pytest.mark.parametrize("block", blocks_of("python no-run"))
def test_examples_that_do_not_run_compile(block: Block) -> None:
    compile(block.text, "example", "exec")


def _is_schema(raw: dict[str, Any]) -> bool:
    return bool({"tables", "entities"} & set(raw))


def _is_experiment(raw: dict[str, Any]) -> bool:
    return bool({"model", "batching", "training"} & set(raw))


@pytest.mark.parametrize("block", blocks_of("toml"))
def test_schemas_and_experiments_are_valid(block: Block) -> None:
    raw = tomllib.loads(block.text)
    if _is_schema(raw):
        schema_from_dict(raw)
    if _is_experiment(raw):
        experiment_from_dict({"model": {"name": "atrank"}} | raw)  # A page may show one section alone.


def _is_request(body: Any) -> bool:
    return bool({"instances", "inputs"} & set(body))


def test_there_are_schemas_experiments_requests_and_outputs_to_check() -> None:
    raws = [tomllib.loads(block.text) for page in PAGES for block in blocks(page) if block.info == "toml"]
    assert sum(map(_is_schema, raws)) >= 1 and sum(map(_is_experiment, raws)) >= 5
    bodies = [json.loads(block.text) for page in PAGES for block in blocks(page) if block.info == "json"]
    assert sum(map(_is_request, bodies)) >= 3
    before = [first.info for page in PAGES for first, then in pairwise(blocks(page)) if then.info == "output"]
    assert set(before) == {"python"}, "Output that is not right behind its example is compared with nothing."
    assert len(before) >= 12 and len(PAGES_WITH_EXAMPLES) >= 8


@pytest.fixture(scope="module")
def shop(shop_export: str) -> Iterator[RestApi]:
    """The REST API of an exported model."""
    served = ServedModel("shop", str(Path(shop_export).parent))
    served.start()
    yield RestApi(served)
    served.close()


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks_of("json"))
def test_json_is_valid_and_requests_are_answered(block: Block, shop: RestApi) -> None:
    body = json.loads(block.text)
    if not _is_request(body):
        return
    answer = shop.answer("POST", "/v1/models/shop:predict", block.text.encode())
    assert answer.status == 200, answer.body
    scores = json.loads(answer.body)["predictions" if "instances" in body else "outputs"]
    task = body.get("signature_name", "score__next_purchase").removeprefix("score__")
    candidates = f"{task}__candidates"
    asked = [row[candidates] for row in body["instances"]] if "instances" in body else body["inputs"][candidates]
    assert [len(row) for row in scores] == [len(row) for row in asked]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = FENCE.sub("", (ROOT / page).read_text())
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(path), f"{page} links to {target}#{anchor}, which is no heading"


def test_the_readme_names_every_page() -> None:
    named = set(re.findall(r"^\| \[[^\]]+\]\(docs/([^)]+)\)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named == {path.name for path in ROOT.glob("docs/*.md")}


def anchors(path: Path) -> set[str]:
    """The anchors that headings get on GitHub."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_law_is_held_by_the_tests_that_are_named() -> None:
    """In each file that the table of laws names there is a test whose name begins with the number of the law."""
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) >= 8
    for number, files in rows:
        named = re.findall(r"`([\w/]+\.py)`", files)
        assert named
        for name in named:
            assert f"\ndef test_{number}_" in (ROOT / "tests" / name).read_text(), f"law {number}: none in tests/{name}"


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text()
        commands = re.findall(r"`make((?: [\w=.:/-]+)+)", FENCE.sub("", text))
        for block in blocks(page):
            commands += re.findall(r"^make((?: [\w=.:/-]+)+)", block.text, re.MULTILINE)
        for command in commands:
            for word in command.split():
                assert "=" in word or word in targets, f"{page} names `make {word}`. Targets: {sorted(targets)}"


CONFIGS = {
    kind.Config: [name for name, other in MODELS.items() if other.Config is kind.Config] for kind in MODELS.values()
}
REFERENCES = [
    ("docs/schema.md", "The whole file", schema.Schema),
    ("docs/schema.md", "[tables.TABLE]", schema.Table),
    ("docs/schema.md", "[entities.ENTITY]", schema.Entity),
    ("docs/schema.md", "id of an entity", schema.EntityId),
    ("docs/schema.md", "features and dense", schema.Features),
    ("docs/schema.md", "A categorical column", schema.IdFeature),
    ("docs/schema.md", "A numeric column", schema.DenseFeature),
    ("docs/schema.md", "[groups.GROUP]", schema.Group),
    ("docs/schema.md", "[user]", schema.User),
    ("docs/schema.md", "[tasks.TASK]", schema.Task),
    ("docs/schema.md", "negatives of a task", schema.Negatives),
    ("docs/schema.md", "[time]", schema.Time),
    ("docs/schema.md", "[split]", schema.Split),
    ("docs/experiment.md", "[model] of every model", RankerConfig),
    *(("docs/experiment.md", f"[model] of {' and '.join(names)}", config) for config, names in CONFIGS.items()),
    ("docs/experiment.md", "[batching]", Batching),
    ("docs/experiment.md", "[training]", Training),
]


def test_every_dataclass_of_a_schema_has_a_reference() -> None:
    public = {getattr(schema, name) for name in schema.__all__ if dataclasses.is_dataclass(getattr(schema, name))}
    assert public <= {kind for _, _, kind in REFERENCES}


@pytest.mark.parametrize(("page", "heading", "kind"), REFERENCES, ids=[kind.__name__ for _, _, kind in REFERENCES])
def test_the_reference_has_every_key_with_its_default(page: str, heading: str, kind: Any) -> None:
    sections = re.split(r"^#+ (.+)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    section = dict(zip(sections[1::2], sections[2::2], strict=True))[heading]
    found = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", section, re.MULTILINE))
    inherited = {field.name for base in kind.__mro__[1:-1] for field in dataclasses.fields(base)}
    expected = {field.name: _default(field) for field in dataclasses.fields(kind) if field.name not in inherited}
    assert found == expected


def _default(field: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(plain(field.default_factory()))}`"
    return "required" if field.default is dataclasses.MISSING else f"`{json.dumps(plain(field.default))}`"


@pytest.mark.parametrize("kind", [schema.Candidates, schema.Exclude, schema.Ties, schema.SplitKind, schema.Transform])
def test_the_reference_has_every_word_that_a_key_may_be(kind: Any) -> None:
    text = (ROOT / "docs/schema.md").read_text()
    assert [word for word in kind if f'`"{word}"`' not in text] == []
    assert [unit for unit in schema.SECONDS if f'`"{unit}"`' not in text] == []
