"""The page in a real browser: what a person sees is what Python computed, by mouse, by keyboard and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrank_tf.explanation import Behavior, Explanation, Focus, Occlusion, Thing, explanation_to_json, write_page

pytestmark = pytest.mark.slow

SCREENSHOTS = Path(__file__).parents[2] / "build/screenshots"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
MINUS = "\u2212"
BLOCKS, SPACES, DAY = 2, 3, 86_400
CATEGORIES = ["tea", "coffee", "soap", "bread"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def _softmax(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    powers = np.exp(rng.normal(scale=1.5, size=shape))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def _case(user: str, count: int, candidates: int, seed: int) -> tuple[Explanation, Occlusion]:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(1, 400, count)) * DAY
    things = [
        Thing(f"p{t}", {"category": (c := CATEGORIES[t % 4],), "brand": (f"b{t % 7}",)}, (c,)) for t in range(count)
    ]
    groups = ["purchase" if t % 3 else "redemption" for t in range(count)]
    things[0] = Thing(HOSTILE, {HOSTILE: (HOSTILE,)}, (HOSTILE,))
    dot, bias = rng.normal(size=(2, candidates)).astype(np.float32)
    explanation = Explanation(
        user=user,
        task="next_purchase",
        group="purchase",
        now=401 * DAY,
        behaviors=tuple(
            Behavior(group, "regular", int(time), thing, t)
            for t, (group, time, thing) in enumerate(zip(groups, times, things, strict=True))
        ),
        candidates=tuple(Thing(f"c{n}", {}, (CATEGORIES[n % 4],)) for n in range(candidates)),
        labels=(np.arange(candidates) == 1).astype(np.float32),
        score=dot + bias,
        parts={"dot": dot, "item_bias": bias},
        affinity=tuple((f"{HOSTILE} {n} times", "anything once") if n != 1 else () for n in range(candidates)),
        self_attention=_softmax((BLOCKS, SPACES, count, count), rng),
        target_attention=_softmax((SPACES, candidates, count), rng),
        inputs={},
    )
    occlusion = Occlusion(
        behaviors=rng.normal(size=(candidates, count)).astype(np.float32),
        groups={"purchase": rng.normal(size=candidates), "redemption": rng.normal(size=candidates)},
        spaces={"target attention": rng.normal(size=(SPACES, candidates))},
    )
    return explanation, occlusion


CASES = [_case("u1", 24, 6, 0), _case(HOSTILE, 500, 12, 1)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "index.html"
    share = np.full((SPACES, 6), 0.25)
    focus = Focus("self-attention 1", share, share / 10, share[0], 9)
    groups = ["purchase", "redemption"]
    write_page(str(path), [explanation_to_json(*case, groups) for case in CASES], [focus], HOSTILE)
    return path.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    """(viewport, scheme) -> the page; afterwards nothing may have been complained of, run or asked for."""
    trouble: list[str] = []
    contexts = []

    def open_page(size: dict[str, int] = DESKTOP, scheme: str = "light") -> Any:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url in (address, "data:,") or trouble.append(request.url))
        page.goto(address)
        page.wait_for_selector(".behaviors tbody tr")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def _weights(page: Any) -> np.ndarray:
    """The numbers in the table by space and behavior, [K, T]."""
    rows = page.eval_on_selector_all(
        ".behaviors tbody tr",
        "rows => rows.map(row => [row.dataset.place, ...[...row.querySelectorAll('.weight')].map(c => c.textContent)])",
    )
    return np.array([[float(cell) for cell in row[1:]] for row in sorted(rows, key=lambda row: int(row[0]))]).T


def _settled(page: Any) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_hovering_shows_the_numbers_that_python_computed(opened: Any) -> None:
    page, (explanation, occlusion) = opened(), CASES[0]
    for n in (0, 3, 5):
        page.locator(f".candidates [data-place='{n}'] .ask").hover()
        _settled(page)
        np.testing.assert_allclose(_weights(page), 100 * explanation.target_attention[:, n], atol=0.051)
        lines = page.locator(".readout li").all_inner_texts()
        for space, line in enumerate(lines):
            best = int(explanation.target_attention[space, n].argmax())
            expected = 100 * explanation.target_attention[space, n, best]
            assert float(line.split()[1]) == pytest.approx(expected, abs=0.0051 + 0.002)
            assert explanation.behaviors[best].thing.label in line
        effect = page.locator(".behaviors tbody tr[data-place='7'] td").last.inner_text()
        assert float(effect.replace(MINUS, "-")) == pytest.approx(occlusion.behaviors[n, 7], abs=0.00051)
        readout = page.locator(".readout").inner_text()
        assert f"Score {explanation.score[n]:.3f}.".replace("-", MINUS) in readout
        assert f"Done before: {'; '.join(explanation.affinity[n])}." in readout
        assert page.locator(f".candidates [data-place='{n}'] .meta").last.inner_text() == explanation.affinity[n][0]
    for block in (0, 1):
        page.mouse.move(0, 0)
        page.select_option("select[name=block]", label=str(block + 1))
        page.locator(".behaviors [data-place='20'] .ask").hover()
        _settled(page)
        np.testing.assert_allclose(_weights(page), 100 * explanation.self_attention[block, :, 20], atol=0.051)
    page.select_option("select[name=space]", label="II")
    assert page.locator(".behaviors thead th:visible").all_inner_texts() == ["Behavior", "II", "Effect"]


def test_a_behavior_can_be_asked_on_the_timeline_and_on_a_map(opened: Any) -> None:
    page, (explanation, _) = opened(), CASES[0]
    page.locator(".timeline circle[data-place='5']").hover()
    _settled(page)
    np.testing.assert_allclose(_weights(page), 100 * explanation.self_attention[0, :, 5], atol=0.051)
    page.locator("summary").click()
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    canvas.hover(position={"x": 5, "y": box["height"] * 10.5 / 24})
    _settled(page)
    np.testing.assert_allclose(_weights(page), 100 * explanation.self_attention[0, :, 10], atol=0.051)
    blue = canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0)"
    )
    darkest = int(np.argmin(np.array(blue)))
    assert darkest == int(explanation.self_attention[0, 0].argmax())


def test_everything_is_reached_by_keyboard(opened: Any) -> None:
    page, (explanation, _) = opened(), CASES[0]
    page.locator("input[type=search]").focus()
    page.keyboard.press("Tab")
    best = np.argsort(-explanation.score, kind="stable")
    for key, n in ((None, best[0]), ("ArrowDown", best[1]), ("End", best[-1]), ("Home", best[0])):
        if key:
            page.keyboard.press(key)
        _settled(page)
        assert explanation.candidates[n].label in page.evaluate("document.activeElement.textContent")
        np.testing.assert_allclose(_weights(page), 100 * explanation.target_attention[:, n], atol=0.051)
    page.keyboard.press("Tab")
    assert "readout" in page.evaluate("document.activeElement.className")  # It may have to be scrolled.
    page.keyboard.press("Tab")
    newest = len(explanation.behaviors) - 1
    assert explanation.behaviors[newest].thing.label in page.evaluate("document.activeElement.textContent")
    _settled(page)
    np.testing.assert_allclose(_weights(page), 100 * explanation.self_attention[0, :, newest], atol=0.051)


def test_search_and_sorting_work(opened: Any) -> None:
    page, (explanation, _) = opened(), CASES[0]

    def order() -> list[int]:
        return [
            int(p)
            for p in page.eval_on_selector_all(
                ".behaviors tbody tr:not([hidden])", "rows => rows.map(row => row.dataset.place)"
            )
        ]

    count = len(explanation.behaviors)
    assert order() == list(range(count))[::-1]
    page.select_option("select[name=sort]", "group")
    assert [explanation.behaviors[t].group for t in order()] == sorted(b.group for b in explanation.behaviors)
    page.select_option("select[name=sort]", "category")
    found = [explanation.behaviors[t].thing.categories[0] for t in order()]
    assert found == sorted(found) and len(found) == count
    page.fill("input[type=search]", "COFFEE")
    coffee = {t for t, b in enumerate(explanation.behaviors) if "coffee" in b.thing.categories}
    assert set(order()) == coffee
    assert page.locator("[role=status]").inner_text() == f"{len(coffee)} of {count} behaviors"
    assert page.locator(".candidates li:visible").count() == 2
    page.fill("input[type=search]", "redemption")
    assert {explanation.behaviors[t].group for t in order()} == {"redemption"}
    page.fill("input[type=search]", "no such thing")
    assert order() == []


def test_names_stay_names(opened: Any) -> None:
    page = opened()
    assert page.locator("script").count() == 2 and page.locator("img").count() == 0
    assert page.locator("#about").inner_text() == HOSTILE
    page.fill("input[type=search]", HOSTILE)
    assert HOSTILE in page.locator(".behaviors tbody tr:visible").inner_text()
    page.locator(".behaviors tbody tr:visible .ask").click()
    _settled(page)
    assert f"{HOSTILE}: {HOSTILE}" in page.locator(".readout").inner_text()
    page.select_option("#request", index=1)
    assert HOSTILE in page.locator("#request option:checked").inner_text()


def test_five_hundred_behaviors_are_fast(opened: Any) -> None:
    page = opened()
    page.select_option("#request", index=1)
    assert page.locator(".behaviors tbody tr").count() == 500
    milliseconds = page.evaluate("""async () => {
      const rows = [...document.querySelectorAll(".candidates .ask")], start = performance.now();
      for (const row of rows) {
        row.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType: "mouse" }));
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
      }
      return (performance.now() - start) / rows.length;
    }""")
    assert milliseconds < 500


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_number_can_be_read(opened: Any, scheme: str) -> None:
    page = opened(scheme=scheme)
    page.locator(".candidates .ask").first.hover()
    _settled(page)
    colors = page.eval_on_selector_all(
        ".behaviors .weight, .meta, .muted, .chosen",
        """cells => cells.map(cell => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const rgb = color => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
      };
      let behind = cell;
      while (rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
      return [rgb(getComputedStyle(cell).color), rgb(getComputedStyle(behind).backgroundColor)];
    })""",
    )
    channels = np.array(colors)[..., :3] / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    light = np.sort(linear @ [0.2126, 0.7152, 0.0722], axis=1)
    assert ((light[:, 1] + 0.05) / (light[:, 0] + 0.05)).min() >= 4.5  # WCAG 2, level AA.


@pytest.mark.parametrize(("name", "size", "scheme"), [("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")])
def test_it_fits_the_screen(opened: Any, name: str, size: dict[str, int], scheme: str) -> None:
    page = opened(size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"explanation_{name}.png", full_page=True)
    page.select_option("#request", index=1)
    page.locator(".behaviors tbody .ask").nth(3).click()
    page.locator("summary").click()
    _settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.screenshot(path=SCREENSHOTS / f"explanation_{name}_500.png", full_page=True)
