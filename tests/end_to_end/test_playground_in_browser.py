"""The playground in a real browser on a real server: what a person sees is what the export answers."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.data import IdMaps, Records
from atrank_tf.explanation import playground_page
from atrank_tf.models import Ranker
from atrank_tf.saved_model import export_model
from atrank_tf.server import LoadedModel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build/screenshots"
HOSTILE = "<img src=x onerror=alert(1)></textarea><script>alert(2)</script>"
MINUS = "\u2212"
DAY = 86_400
INSTANCE = {
    "now": 85 * DAY,
    "purchase__id": ["p1", "p2", HOSTILE, "p7"],
    "purchase__action": ["regular", "discounted", "regular", "regular"],  # A behavior of an unknown one is not read.
    "purchase__timestamp": [80 * DAY, 81 * DAY, 82 * DAY, 84 * DAY],
    "redemption__id": [4, 7],
    "redemption__action": ["redeem", "redeem"],
    "redemption__timestamp": [60 * DAY, 83 * DAY],
    "user__age": "young",
    "user__income": 120.0,
    "next_purchase__candidates": ["p3", "p5", "p1", HOSTILE],
    "next_redemption__candidates": [3, 4, 11],
    "next_redemption__channel": ["mail", "app", "mail"],
    "next_redemption__position": [0.0, 1.0, 2.0],
}


@pytest.fixture(scope="module")
def export(make_model: Callable[..., Ranker], records: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(5)
    model, rng = make_model(num_blocks=2), np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return Path(export_model(model, IdMaps.of(records), str(tmp_path_factory.mktemp("shop")), explain=True))


@pytest.fixture(scope="module")
def loaded(export: Path) -> Iterator[LoadedModel]:
    loaded = LoadedModel(str(export))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def address(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    request = tmp_path_factory.mktemp("request") / "request.json"
    request.write_text(json.dumps({"instances": [INSTANCE]}))
    flags = [f"--model_base_path={export.parent}", "--model_name=shop", "--rest_api_port=0", f"--playground={request}"]
    command = [sys.executable, "-m", "atrank_tf.serve", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        found = re.fullmatch(r"Playground: (http://127\.0\.0\.1:\d+/)\n", lines[1])
        assert found, lines
        yield found[1]
        process.terminate()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    trouble: list[str] = []
    contexts = []

    def open_page(size: tuple[int, int] = (1280, 900), scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith((address, "data:,")) or trouble.append(request.url))
        page.goto(address)
        page.wait_for_selector(".behaviors tbody tr")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def _run(loaded: LoadedModel, signature: str, instance: dict[str, Any]) -> dict[str, np.ndarray]:
    inputs = {}
    for name, info in loaded.signatures[signature].inputs.items():
        dtype = {"string": object, "int64": np.int64, "float": np.float32}[info.dtype]
        inputs[name] = np.array([instance[name]], dtype)
    return {name: value[0] for name, value in loaded.run(signature, inputs).items()}


def _numbers(texts: list[str]) -> np.ndarray:
    return np.array([float(text.replace(MINUS, "-")) for text in texts])


def _check(page: Any, loaded: LoadedModel, task: str, instance: dict[str, Any]) -> None:
    """All numbers that the page shows of the best candidate are those of the export."""
    expected = _run(loaded, f"explain__{task}", instance)
    best = int(np.argmax(expected["scores"]))
    order = np.argsort(-expected["scores"], kind="stable")
    shown = page.locator(".candidates .number").all_inner_texts()
    np.testing.assert_allclose(_numbers(shown), expected["scores"][order], atol=0.00051)
    groups = {"purchase": instance["purchase__id"], "redemption": instance["redemption__id"]}
    real = np.flatnonzero(expected["behavior_place"] >= 0)
    behaviors = [(expected["behavior_group"][t].decode(), int(expected["behavior_place"][t])) for t in real]
    newest = sorted(
        range(len(real)), key=lambda at: instance[f"{behaviors[at][0]}__timestamp"][behaviors[at][1]], reverse=True
    )
    rows = page.locator(".behaviors tbody tr")
    assert rows.count() == len(real)
    for row, at in enumerate(newest):
        group, place = behaviors[at]
        assert str(groups[group][place]) in rows.nth(row).locator("th").inner_text()
        weights = _numbers(rows.nth(row).locator(".weight").all_inner_texts())
        np.testing.assert_allclose(weights, 100 * expected["target_attention"][:, best, real[at]], atol=0.051)
        without = copy.deepcopy(instance)
        without[f"{group}__timestamp"][place] = 0
        effect = expected["scores"][best] - _run(loaded, f"score__{task}", without)["scores"][best]
        shown = rows.nth(row).locator("td").last.inner_text()
        assert _numbers([shown])[0] == pytest.approx(effect, abs=0.00055)


def _wait(page: Any, status: str) -> None:
    page.wait_for_function("text => document.getElementById('status').textContent.includes(text)", arg=status)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_what_is_edited_is_scored_and_explained_at_once(opened: Any, loaded: LoadedModel) -> None:
    page, instance = opened(), copy.deepcopy(INSTANCE)
    _wait(page, "4 candidates, 6 of 6 behaviors")
    _check(page, loaded, "next_purchase", instance)
    page.get_by_label("remove").first.click()  # The newest purchase.
    for column in ("id", "action", "timestamp"):
        instance[f"purchase__{column}"].pop()
    _wait(page, "5 of 5 behaviors")
    _check(page, loaded, "next_purchase", instance)
    page.get_by_text("add a redemption").click()
    _wait(page, "Expected a whole number in redemption__id. Received: nothing.")
    assert page.locator(".behaviors tbody tr").count() == 5  # What was drawn stays.
    page.get_by_label("redemption id").first.fill("9")
    instance["redemption__id"].append(9)
    instance["redemption__action"].append("redeem")
    instance["redemption__timestamp"].append(instance["now"] - 1)
    _wait(page, "6 of 6 behaviors")
    _check(page, loaded, "next_purchase", instance)
    page.get_by_label("Candidates, one id a line").fill("p9\np10\n")
    instance["next_purchase__candidates"] = ["p9", "p10"]
    _wait(page, "2 candidates")
    _check(page, loaded, "next_purchase", instance)
    page.get_by_label("user__age").fill("old")
    instance["user__age"] = "old"
    scores = page.locator(".candidates .number").all_inner_texts()
    page.wait_for_function("old => document.querySelector('.candidates .number').textContent !== old", arg=scores[0])
    _check(page, loaded, "next_purchase", instance)
    sent = page.locator("#sent pre").text_content()
    body = json.loads(sent.split("\n\n", 1)[1])
    asked = {name: instance[name] for name in loaded.signatures["score__next_purchase"].inputs}
    assert body == {"signature_name": "score__next_purchase", "instances": [asked]}


def test_titles_stand_beside_ids(opened: Any, address: str) -> None:
    page = opened()
    titles = {"p1": "Tea, green", HOSTILE: HOSTILE}
    named = playground_page(
        ["shop"], {"instances": [INSTANCE]}, {"purchase__id": titles, "next_purchase__candidates": titles}
    )
    page.route(address, lambda route: route.fulfill(status=200, content_type="text/html", body=named))
    page.goto(address)
    _wait(page, "4 candidates, 6 of 6 behaviors")
    for place in (".candidates li", ".behaviors tbody th"):
        found = page.locator(place).all_inner_texts()
        assert sum("Tea, green (p1)" in text for text in found) == 1
        assert sum(f"{HOSTILE} ({HOSTILE})" in text for text in found) == 1
        assert sum(re.search(r"\bp[23]\b(?!\))", text) is not None for text in found) == 1


def test_another_task_has_its_candidates_and_their_context(opened: Any, loaded: LoadedModel) -> None:
    page = opened()
    page.select_option("#task", "next_redemption")
    _wait(page, "3 candidates")
    _check(page, loaded, "next_redemption", INSTANCE)


def test_the_servers_errors_are_shown(opened: Any) -> None:
    page = opened()
    page.route("**/v1/models/shop:predict", lambda route: route.fulfill(status=200, body='{"predictions": 1'))
    page.get_by_label("user__age").fill("?")
    _wait(page, "The server answered 200")
    page.unroute("**/v1/models/shop:predict")


def test_a_request_can_be_edited_by_keyboard(opened: Any) -> None:
    page = opened()
    page.get_by_text("add a purchase").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("p4")
    _wait(page, "7 of 7 behaviors")


@pytest.mark.parametrize(("name", "size", "scheme"), [("desktop", (1280, 900), "light"), ("phone", (390, 844), "dark")])
def test_it_fits_the_screen(opened: Any, name: str, size: tuple[int, int], scheme: str) -> None:
    page = opened(size, scheme)
    _wait(page, "6 of 6 behaviors")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"playground_{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
