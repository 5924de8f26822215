"""Draws charts as SVG: no script, no image, colors by the style of the page."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 360, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 6, 8, 26
_LETTER = 7
"""About what a letter of a label takes."""
_LONGEST = 38
"""Most letters of a label that stands beside a remark."""


def bars(title: str, labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> str:
    """Returns a figure with bars side by side, as shares of each series.

    Args:
        title: what is counted.
        labels: names of the bins. Bins at both ends that are empty in every series are left out.
        series: name -> counts by bin. More than one get a legend.
    """
    used = [index for index in range(len(labels)) if any(counts[index] for counts in series.values())]
    if not used:
        return ""
    first, last = used[0], used[-1] + 1
    labels, names = labels[first:last], list(series)
    shares = [[count / max(1, sum(counts)) for count in counts[first:last]] for counts in series.values()]
    top = max(max(values) for values in shares)
    slot = (_WIDTH - _LEFT - _RIGHT) / len(labels)
    width = 0.84 * slot / len(names)
    drawn = []
    for number, values in enumerate(shares):
        for index, value in enumerate(values):
            x, height = _LEFT + slot * index + 0.08 * slot + width * number, _plot_height() * value / top
            said = escape(f"{labels[index]}: {value:.2%}" + (f" of {names[number]}" if len(names) > 1 else ""))
            drawn.append(
                f'<rect class="s{number}" x="{x:.2f}" y="{_TOP + _plot_height() - height:.2f}" width="{width:.2f}" '
                f'height="{height:.2f}"><title>{said}</title></rect>'
            )
    short = [label.split(" to ")[0] for label in labels]  # Of "4 to 7" there is room for "4".
    ticks = [(_LEFT + slot * (index + 0.5), short[index]) for index in _spread(short)]
    return _figure(title, names, "".join(drawn), ticks, _shares(top))


def curve(title: str, points: Sequence[Sequence[float]]) -> str:
    """Returns a figure with a line through points (x, y), shares of 1; x runs as its square root, for steep begins."""
    if not points:
        return ""

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * x**0.5, _TOP + _plot_height() * (1 - y)

    path = " ".join(f"{px:.2f},{py:.2f}" for px, py in (place(x, y) for x, y in points))
    dots = []
    for x, y in points:
        px, py = place(x, y)
        dots.append(f'<circle cx="{px:.2f}" cy="{py:.2f}" r="4"><title>{x:.1%}: {y:.1%}</title></circle>')
    ticks = [(place(x, 0)[0], f"{x:.0%}") for x in (0.01, 0.1, 0.3, 0.6, 1.0)]
    line = f'<polyline class="s0" points="{path}"/><g class="s0">{"".join(dots)}</g>'
    return _figure(title, [], line, ticks, _shares(1.0))


def lines(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> str:
    """Returns a figure with a line for each series through the points of some labels; where a number is None, none."""
    known = [value for values in series.values() for value in values if value is not None]
    if not known:
        return ""
    ticks = _even(min(known), max(known))
    low, high = ticks[0], ticks[-1]
    slot = (_WIDTH - _LEFT - _RIGHT) / len(labels)
    drawn = []
    for number, (name, values) in enumerate(series.items()):
        points = [
            (_LEFT + slot * (index + 0.5), _TOP + _plot_height() * (high - value) / (high - low), index, value)
            for index, value in enumerate(values)
            if value is not None
        ]
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y, _, _ in points)
        dots = "".join(
            f'<circle cx="{x:.2f}" cy="{y:.2f}" r="3"><title>{escape(f"{name}, {labels[index]}: {value:.4f}")}</title>'
            "</circle>"
            for x, y, index, value in points
        )
        drawn.append(f'<polyline class="s{number}" points="{path}"/><g class="s{number}">{dots}</g>')
    beneath = [(_LEFT + slot * (index + 0.5), labels[index]) for index in _spread(labels)]
    return _figure(title, list(series), "".join(drawn), beneath, [((y - low) / (high - low), f"{y:g}") for y in ticks])


def dots(
    title: str, names: Sequence[str], rows: Sequence[tuple[str, str, Sequence[tuple[float, float] | None]]]
) -> str:
    """Returns a figure with a row for each kind: numbers as dots, side by side on one scale, with their errors.

    Args:
        title: what is shown.
        names: of the series; more than one get a legend.
        rows: label, a remark at the end of its line, and (number, standard error) of each series or None.
    """
    known = [(value, _error(error)) for _, _, cells in rows for value, error in filter(None, cells)]
    if not known:
        return ""
    ticks = _even(min(value - error for value, error in known), max(value + error for value, error in known))
    low, high, height, edge = ticks[0], ticks[-1], 40, 12

    def across(value: float) -> float:
        return edge + (_WIDTH - 2 * edge) * (value - low) / (high - low)

    bottom = height * len(rows) + 6
    drawn = [
        f'<line x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="0" y2="{bottom}"/>'
        f'<text x="{across(tick):.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    ]
    for index, (label, remark, cells) in enumerate(rows):
        y = height * index + 13
        short = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}\u2026"
        drawn.append(f'<text class="ink" x="2" y="{y}"><title>{escape(label)}</title>{escape(short)}</text>')
        drawn.append(f'<text x="{_WIDTH - 2}" y="{y}" text-anchor="end">{escape(remark)}</text>')
        for number, cell in reversed([*enumerate(cells)]):
            if cell is not None:
                x, half, line = across(cell[0]), _error(cell[1]), y + 10 + 5 * number
                said = escape(f"{label}, {names[number]}: {cell[0]:.4f} \u00b1{cell[1]:.4f}")
                drawn.append(
                    f'<g class="s{number}"><title>{said}</title><line class="error" x1="{across(cell[0] - half):.2f}" '
                    f'x2="{across(cell[0] + half):.2f}" y1="{line}" y2="{line}"/><circle class="dot" cx="{x:.2f}" '
                    f'cy="{line}" r="4"/></g>'
                )
    return _framed(title, names, "".join(drawn), bottom + 20)


def against_diagonal(title: str, points: Sequence[tuple[float, float, str]]) -> str:
    """Returns a figure of points (x, y, remark), shares of 1, beside the line on which both are equal; logarithmic."""
    known = [share for x, y, _ in points for share in (x, y) if share > 0]
    if not known:
        return ""
    floor = max(-6, math.floor(math.log10(min(known))))

    def place(x: float, y: float) -> tuple[float, float]:
        shares = [max(0.0, 1 - math.log10(max(share, 10.0**floor)) / floor) if floor else 1.0 for share in (x, y)]
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * shares[0], _TOP + _plot_height() * (1 - shares[1])

    placed = [(*place(x, y), escape(remark)) for x, y, remark in points]
    drawn = f'<line class="equal" x1="{_LEFT}" y1="{_TOP + _plot_height()}" x2="{_WIDTH - _RIGHT}" y2="{_TOP}"/>'
    drawn += f'<polyline class="s0" points="{" ".join(f"{x:.2f},{y:.2f}" for x, y, _ in placed)}"/><g class="s0">'
    drawn += "".join(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4"><title>{said}</title></circle>' for x, y, said in placed)
    shares = [10.0**power for power in range(floor, 1)]
    beneath = [(place(share, 1)[0], f"{share:.{max(0, -2 - power)}%}") for power, share in enumerate(shares, floor)]
    beside = [(1 - power / floor if floor else 1.0, label) for power, (_, label) in enumerate(beneath, floor)]
    return _figure(title, [], f"{drawn}</g>", beneath, beside)


def _error(error: float) -> float:
    """Returns a standard error that can be drawn: of one value alone it is not known."""
    return 0.0 if math.isnan(error) else error


def _even(low: float, high: float) -> list[float]:
    """Returns three to six round numbers, evenly apart, from below `low` to above `high`."""
    width = max(high - low, 1e-6)
    power = 10.0 ** math.floor(math.log10(width / 3))
    step = next(factor * power for factor in (1, 2, 5, 10) if width / (factor * power) <= 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * number, 12) for number in range(first, max(last, first + 1) + 1)]


def _shares(top: float) -> list[tuple[float, str]]:
    """Returns the ticks of an axis of shares from 0 to `top`: place, 0 to 1, and label."""
    digits = 0 if top >= 0.1 else 1 if top >= 0.01 else 2
    return [(share, f"{share * top:.{digits}%}") for share in (0.0, 0.5, 1.0)]


def _plot_height() -> int:
    return _HEIGHT - _TOP - _BOTTOM


def _spread(labels: Sequence[str]) -> range:
    """Returns the indices of labels that do not overlap, evenly apart."""
    room = (_WIDTH - _LEFT - _RIGHT) // (_LETTER * (2 + max(len(label) for label in labels)))
    return range(0, len(labels), -(-len(labels) // max(1, room)))


def _figure(
    title: str,
    names: Sequence[str],
    drawn: str,
    beneath: Sequence[tuple[float, str]],
    beside: Sequence[tuple[float, str]],
) -> str:
    """Returns a figure with labels beneath (at x) and beside its plot (at a share of its height)."""
    grid = []
    for share, label in beside:
        y = _TOP + _plot_height() * (1 - share)
        grid.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        grid.append(f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    for x, label in beneath:
        x = min(x, _WIDTH - 4 - _LETTER * len(label) / 2)
        grid.append(f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    return _framed(title, names, "".join(grid) + drawn, _HEIGHT)


def _framed(title: str, names: Sequence[str], drawn: str, height: int) -> str:
    legend = "".join(f'<li class="s{number}">{escape(name)}</li>' for number, name in enumerate(names))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        + (f"<ul>{legend}</ul>" if len(names) > 1 else "")
        + f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{drawn}</svg>'
        "</figure>"
    )
