"""Figures are PNG files of what they are given, whatever the names."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrank_tf.explanation import (
    Explanation,
    Focus,
    Occlusion,
    Thing,
    draw_figures,
    occlusion_figure,
    self_attention_figure,
    spaces_figure,
    target_attention_figure,
)
from atrank_tf.explanation.figures import MOST_BEHAVIORS

HOSTILE = Thing("$x_{", {}, ("$\\frac{", "a\nb\t" + "長" * 90))


def test_without_matplotlib_a_person_is_told_what_to_install(
    explanations: list[Explanation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"Figures need the package matplotlib: pip install 'atrank-tf\[explain\]'"):
        self_attention_figure(explanations[0], 0, str(tmp_path / "figure.png"))
    assert list(tmp_path.iterdir()) == []


def _hostile(explanation: Explanation) -> Explanation:
    return replace(
        explanation,
        user="$u_\n",
        behaviors=tuple(behavior._replace(thing=HOSTILE) for behavior in explanation.behaviors),
        candidates=(HOSTILE,) * len(explanation.candidates),
    )


def _drawings(explanation: Explanation) -> dict[str, Callable[[str], None]]:
    count = len(explanation.behaviors)
    occlusion = Occlusion(np.linspace(-1, 1, count)[np.newaxis].repeat(len(explanation.candidates), 0), {}, {})
    nan = np.full((2, 6), np.nan)
    focus = Focus("self-attention 1", np.where(np.arange(6) > 0, 0.5, nan), nan * 0 + 0.1, nan[0] * 0 + 0.3, 4)
    return {
        "self_attention": lambda path: self_attention_figure(explanation, 0, path),
        "target_attention": lambda path: target_attention_figure(explanation, path),
        "occlusion": lambda path: occlusion_figure(explanation, occlusion, path),
        "spaces": lambda path: spaces_figure([focus, replace(focus, uniform=nan[0])], path),
    }


@pytest.mark.parametrize("name", ["self_attention", "target_attention", "occlusion", "spaces"])
def test_a_figure_is_drawn_and_written_whole(name: str, explanations: list[Explanation], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    _drawings(_hostile(explanations[0]))[name](str(tmp_path / "figure.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    image = np.asarray(Image.open(tmp_path / "figure.png").convert("L"), np.float64)
    assert image.shape[0] > 150 and image.shape[1] > 400
    assert (image == 255).mean() > 0.05 and image.std() > 10


def test_all_figures_that_there_are_are_drawn(explanations: list[Explanation], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    explanation, nothing = explanations[0], np.zeros((0, 0, 0, 0), np.float32)
    effects = np.ones((len(explanation.candidates), len(explanation.behaviors)))
    blind = replace(explanation, self_attention=nothing, target_attention=explanation.target_attention[:0])
    draw_figures(blind, Occlusion(effects, {}, {}), str(tmp_path / "blind"))
    draw_figures(replace(explanation, behaviors=()), Occlusion(effects[:, :0], {}, {}), str(tmp_path / "new"))
    draw_figures(explanation, Occlusion(effects, {}, {}), str(tmp_path / "whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "blind_occlusion.png",
        "whole_occlusion.png",
        "whole_self_attention_1.png",
        "whole_self_attention_2.png",
        "whole_target_attention.png",
    ]


def test_a_map_shows_the_weights_of_the_newest_behaviors(
    explanations: list[Explanation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    count = MOST_BEHAVIORS + 5
    weights = np.random.default_rng(0).random((1, 3, count, count)).astype(np.float32)
    behaviors = tuple(explanations[0].behaviors[t % 3] for t in range(count))
    shown: list[Any] = []
    draw = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda axis, data, **kwargs: shown.append(data) or draw(axis, data, **kwargs))
    long = replace(explanations[0], behaviors=behaviors, self_attention=weights)
    self_attention_figure(long, 0, str(tmp_path / "figure.png"))
    np.testing.assert_array_equal(np.stack(shown), weights[0, :, 5:, 5:])
