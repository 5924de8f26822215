"""Metrics as a table of text: a line for each model, a column for each metric."""

from collections.abc import Mapping, Sequence

from atrank_tf.evaluation.metrics import Estimate
from atrank_tf.evaluation.significance import PairedDifference


def metrics_table(
    title: str, rows: Mapping[str, Mapping[str, Estimate]], differences: Mapping[str, PairedDifference] | None = None
) -> str:
    """Returns the table that the command `evaluate` prints.

    Args:
        title: what stands above the names of the rows.
        rows: row -> metric -> value and standard error, which share a cell. All rows have the same metrics.
        differences: metric -> difference of two of the rows, for two more lines: the difference and its p-value.

    Returns:
        Lines of text, each with its end.
    """
    metrics = list(next(iter(rows.values())))
    lines = [_line(title, metrics, indent="")]
    for name, estimates in rows.items():
        lines.append(_line(name, [f"{_short(e.value)} ±{_short(e.standard_error)}" for e in estimates.values()]))
    counted = next(iter(rows.values())).values()
    lines.append(_line("users, candidates or requests", [f"{estimate.count:,}" for estimate in counted]))
    if differences:
        found = [differences.get(metric) for metric in metrics]
        cells = [f"{_short(d.difference, '+')} ±{_short(d.standard_error)}" if d else "" for d in found]
        lines.append(_line("difference", cells))
        lines.append(_line("p", [f"{d.p_value:.3f}" if d else "" for d in found]))
    return "\n".join(lines) + "\n"


def _short(value: float, sign: str = "") -> str:
    """Returns a number with four decimals; a rank, which is no share, with one."""
    return f"{value:{sign}.{1 if abs(value) >= 10 else 4}f}"


def _line(name: str, cells: Sequence[str], indent: str = "  ") -> str:
    return f"{indent + name:32}" + "".join(f"{cell:>17}" for cell in cells)
