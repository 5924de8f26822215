"""PNG figures as in the paper: attention per semantic space, side by side. Needs matplotlib (extra `explain`)."""

import io
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.explanation.attention import Explanation
from atrank_tf.explanation.occlusion import Occlusion
from atrank_tf.explanation.spaces import MEASURES, Focus, numeral
from atrank_tf.files import whole_file

MOST_BEHAVIORS = 32
"""Number of behaviors in a figure, the newest ones: there is no room for the names of more."""
MOST_CANDIDATES = 12
"""Number of candidates in a figure, the best ones."""
GROUP_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Okabe and Ito's colors, which color-blind people can tell apart."""
_CHARACTERS = 26


def draw_figures(explanation: Explanation, occlusion: Occlusion, stem: str) -> None:
    """Draws all figures of an explanation, `<stem>_self_attention_1.png` and so on; none for an empty history."""
    if not explanation.behaviors:
        return
    for block in range(len(explanation.self_attention)):
        self_attention_figure(explanation, block, f"{stem}_self_attention_{block + 1}.png")
    if len(explanation.target_attention):
        target_attention_figure(explanation, f"{stem}_target_attention.png")
    occlusion_figure(explanation, occlusion, f"{stem}_occlusion.png")


def self_attention_figure(explanation: Explanation, block: int, path: str) -> None:
    """Draws the weights of each behavior (row) over the others (column) in each space, in time order, groups by color.

    Args:
        explanation: an explanation with this block.
        block: which block, from 0.
        path: the PNG file.
    """
    start = max(0, len(explanation.behaviors) - MOST_BEHAVIORS)
    weights = explanation.self_attention[block][:, start:, start:]
    title = f"Self-attention {block + 1}: a behavior (row) attends to others (column)"
    figure, axes = _panels(weights, f"{title}, {_of_whom(explanation, start)}")
    _name_behaviors(axes, explanation, start, rows=True)
    _save(figure, path)


def target_attention_figure(explanation: Explanation, path: str) -> None:
    """Draws the weights of the best candidates (rows) over the behaviors (columns) in each space.

    Args:
        explanation: an explanation with target attention.
        path: the PNG file.
    """
    start = max(0, len(explanation.behaviors) - MOST_BEHAVIORS)
    best = np.argsort(-explanation.score, kind="stable")[:MOST_CANDIDATES]
    figure, axes = _panels(
        explanation.target_attention[:, best][..., start:],
        f"A candidate (row) reads behaviors (column), {explanation.task}, {_of_whom(explanation, start)}",
    )
    _name_behaviors(axes, explanation, start, rows=False)
    names = [f"{_short(explanation.candidates[n].label)}  {explanation.score[n]:.2f}" for n in best]
    if explanation.labels is not None:
        names = [f"✓ {name}" if explanation.labels[n] else name for n, name in zip(best, names, strict=True)]
    axes[0].set_yticks(range(len(best)), names)
    _save(figure, path)


def occlusion_figure(explanation: Explanation, occlusion: Occlusion, path: str) -> None:
    """Draws the effect of each behavior on the score of the best candidate, and its attention weight beside it.

    Args:
        explanation: an explanation, with behaviors.
        occlusion: of the same request.
        path: the PNG file.
    """
    start = max(0, len(explanation.behaviors) - MOST_BEHAVIORS)
    best = int(np.argmax(explanation.score))
    behaviors = explanation.behaviors[start:]
    bars = {"effect: the score minus the score without it": occlusion.behaviors[best, start:]}
    if len(explanation.target_attention):
        bars["attention, mean over the spaces"] = explanation.target_attention[:, best, start:].mean(axis=0)
    figure, [axes] = _figure(len(bars), 1, 3.2, 0.16 * len(behaviors) + 0.4, left=2.4, below=0.3)
    for axis, (title, values) in zip(axes, bars.items(), strict=True):
        axis.barh(range(len(behaviors)), values, color=[_color(explanation, behavior.group) for behavior in behaviors])
        axis.axvline(0, color="#444444", linewidth=0.8)
        axis.set_title(title, fontsize=9)
        axis.set_ylim(len(behaviors) - 0.5, -0.5)
        axis.set_yticks([])
    axes[0].set_yticks(range(len(behaviors)), [_short(behavior.thing.label) for behavior in behaviors])
    candidate = _short(explanation.candidates[best].label)
    figure.suptitle(f"What counted for {candidate}, and what it read; {_of_whom(explanation, start)}", fontsize=10)
    _save(figure, path)


def spaces_figure(focuses: Iterable[Focus], path: str) -> None:
    """Draws the shares of each space's weights beside those of equal weights (the line); bars are ± 1 error.

    Args:
        focuses: results of `measure_spaces`.
        path: the PNG file.
    """
    focuses = list(focuses)
    figure, rows = _figure(len(MEASURES), len(focuses), 1.4, 1.4, left=0.7, below=0.3, between=0.4)
    for axes, focus in zip(rows, focuses, strict=True):
        spaces = len(focus.share)
        for column, (axis, measure) in enumerate(zip(axes, MEASURES, strict=True)):
            axis.set_title(measure, fontsize=9)
            if np.isnan(focus.uniform[column]):
                axis.set(xticks=[], yticks=[], frame_on=False)
                continue
            axis.bar(range(spaces), focus.share[:, column], yerr=focus.error[:, column], color=GROUP_COLORS[0])
            axis.axhline(focus.uniform[column], color=GROUP_COLORS[1], linewidth=1.2)
            axis.set_xticks(range(spaces), [numeral(space) for space in range(spaces)])
        axes[0].set_ylabel(f"{focus.attention}\n{focus.requests} requests", fontsize=8)
    figure.suptitle("Where the weights of each space go (the line: equal weights)", fontsize=10)
    _save(figure, path)


def _panels(weights: np.ndarray, title: str) -> tuple[Any, list[Any]]:
    """Draws one map for each space of weights [K, Q, T], all on one scale."""
    spaces, queries, behaviors = weights.shape
    side, height = max(1.0, 0.13 * behaviors), max(0.8, 0.13 * queries)
    figure, axes = _figure(spaces, 1, side, height, left=2.0, below=1.7)
    for space, axis in enumerate(axes[0]):
        # Even weights should look pale: the scale ends no lower than at four times an equal weight.
        most = max(weights.max(initial=0), min(1, 4 / behaviors))
        image = axis.imshow(weights[space], vmin=0, vmax=most, cmap="Blues", aspect="auto")
        axis.set_title(numeral(space), fontsize=9)
        axis.set_yticks([])
    width = figure.get_figwidth()
    bar = figure.add_axes((1 - 0.65 / width, axes[0][0].get_position().y0, 0.1 / width, 0.8 / figure.get_figheight()))
    figure.colorbar(image, cax=bar, format=lambda weight, _: f"{100 * weight:.3g} %")
    figure.suptitle(title, fontsize=10)
    return figure, list(axes[0])


def _name_behaviors(axes: Sequence[Any], explanation: Explanation, start: int, *, rows: bool) -> None:
    behaviors = explanation.behaviors[start:]
    names = [_short(", ".join(behavior.thing.categories[:1]) or behavior.thing.id) for behavior in behaviors]
    for axis in axes:
        axis.set_xticks(range(len(names)), names, rotation=90)
        if rows and axis is axes[0]:
            axis.set_yticks(range(len(names)), names)
        labels = [*axis.get_xticklabels(), *(axis.get_yticklabels() if rows and axis is axes[0] else [])]
        for place, label in enumerate(labels):
            label.set_color(_color(explanation, behaviors[place % len(behaviors)].group))
    groups = list(dict.fromkeys(behavior.group for behavior in explanation.behaviors))
    for place, group in enumerate(groups):
        axes[0].annotate(
            _plain(group),
            (0, 1),
            (-130, 8 + 10 * place),
            xycoords="axes fraction",
            textcoords="offset points",
            color=_color(explanation, group),
            fontsize=8,
        )


def _figure(
    columns: int, rows: int, width: float, height: float, *, left: float, below: float, between: float = 0.15
) -> tuple[Any, Any]:
    """Returns a figure and its axes [rows, columns], each `width` x `height` inches.

    Margins are arguments, since fitting them to the names of behaviors would take seconds.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Figures need the package matplotlib: pip install 'atrank-tf[explain]'") from error
    whole = (left + columns * (width + between) + 0.8, below + rows * (height + 0.45) + 0.35)
    figure = Figure(figsize=whole)
    figure.subplots_adjust(
        left=left / whole[0],
        right=1 - 0.8 / whole[0],
        bottom=below / whole[1],
        top=1 - 0.7 / whole[1],
        wspace=between / width,
        hspace=0.45 / height,
    )
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: str) -> None:
    from PIL import Image  # Comes with matplotlib.

    for axis in figure.axes:
        axis.tick_params(labelsize=6, length=2)
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # Names may be in any script.
        figure.savefig(drawn, format="png", dpi=110)
    with whole_file(path) as partial, tf.io.gfile.GFile(partial, "wb") as file:
        # A palette: a third of the bytes, and nobody sees it.
        Image.open(drawn).convert("RGB").quantize(256).save(file, format="png", optimize=True)


def _color(explanation: Explanation, group: str) -> str:
    groups = sorted({behavior.group for behavior in explanation.behaviors} | {explanation.group})
    return GROUP_COLORS[groups.index(group) % len(GROUP_COLORS)]


def _of_whom(explanation: Explanation, start: int) -> str:
    moment = datetime.fromtimestamp(explanation.now, UTC).strftime("%Y-%m-%d")
    shown = f"the newest {MOST_BEHAVIORS} of {len(explanation.behaviors)} behaviors, " if start else ""
    return f"{shown}user {_short(explanation.user)}, {moment}"


def _short(name: str) -> str:
    return _plain(name if len(name) <= _CHARACTERS else f"{name[: _CHARACTERS - 1]}…")


def _plain(name: str) -> str:
    """Escapes a name for matplotlib, which would take dollar signs for a formula, and joins its lines."""
    return " ".join(name.split()).replace("$", r"\$")
