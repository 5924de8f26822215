"""Draws charts as SVG: no script, no image, colors by the style of the page."""

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 360, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 6, 8, 26
_LETTER = 7
"""About what a letter of a label takes."""


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
    return _figure(title, names, "".join(drawn), ticks, top)


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
    return _figure(title, [], line, ticks, 1.0)


def _plot_height() -> int:
    return _HEIGHT - _TOP - _BOTTOM


def _spread(labels: Sequence[str]) -> range:
    """Returns the indices of labels that do not overlap, evenly apart."""
    room = (_WIDTH - _LEFT - _RIGHT) // (_LETTER * (2 + max(len(label) for label in labels)))
    return range(0, len(labels), -(-len(labels) // max(1, room)))


def _figure(title: str, names: Sequence[str], drawn: str, ticks: Sequence[tuple[float, str]], top: float) -> str:
    grid, digits = [], 0 if top >= 0.1 else 1 if top >= 0.01 else 2
    for share in (0.0, 0.5, 1.0):
        y = _TOP + _plot_height() * (1 - share)
        grid.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        grid.append(f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{share * top:.{digits}%}</text>')
    for x, label in ticks:
        x = min(x, _WIDTH - _LETTER * len(label) / 2)
        grid.append(f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    legend = "".join(f'<li class="s{number}">{escape(name)}</li>' for number, name in enumerate(names))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        + (f"<ul>{legend}</ul>" if len(names) > 1 else "")
        + f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(grid)}{drawn}</svg>'
        "</figure>"
    )
