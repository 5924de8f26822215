"""Warm start: a training on newer records that begins with the weights of an earlier one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from atrank_tf.data import IdMaps
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.models import Ranker
from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN, layout
from atrank_tf.training.model_folder import VALUES_FILE, load


class WarmStart(NamedTuple):
    """Summary of what was taken over from an earlier model.

    Args:
        tables: table -> how many of the new records' values it knew, and how many there are.
        new: paths of the weights that it has not.
    """

    tables: Mapping[str, tuple[int, int]]
    new: tuple[str, ...]

    def __str__(self) -> str:
        wide = max((len(name) for name in self.tables), default=0)
        lines = [f"  {name:{wide}}  {known:,} of {now:,} values known" for name, (known, now) in self.tables.items()]
        return "\n".join(lines + [f"  {path}  new" for path in self.new])


def warm_start(model: Ranker, values: IdMaps, model_dir: str) -> WarmStart:
    """Loads the trained weights of an earlier model into a model of newer records.

    Weights are found by their paths: the earlier model may have fewer tasks, groups or blocks, or be of another class.
    Rows of tables follow their values. A value that is new begins as the row of unknown values, by which the earlier
    model would have read it; so before its first step the model scores as the earlier one. What the head "dnn"
    reads of affinity follows its names. What is counted and not trained (catalogs, popularity, means and variances of
    columns) is that of the new records.

    Args:
        model: a model of the new records.
        values: the raw values behind its rows.
        model_dir: model folder of the earlier training.

    Raises:
        FileNotFoundError: the folder holds no model.
        ValueError: its weights do not fit, or mean something else; or a file is damaged, or of an earlier version.
    """
    earlier = load(model_dir)
    earlier_values = IdMaps.load(f"{model_dir}/{VALUES_FILE}")
    _check_layout(model, earlier, model_dir)
    weights = {variable.path: variable for variable in _taken_over(earlier)}
    tables, names, earlier_names = model.table_of_weight(), model.row_names(), earlier.row_names()
    rows = {}
    for name in sorted(set(tables.values()) & set(earlier.schema.tables)):
        if model.schema.tables[name].hash:
            rows[name] = np.arange(model.schema.tables[name].rows)
            continue
        rows[name] = _earlier_rows(values.tables[name], _values(earlier_values, name, model_dir))
    new = []
    for variable in _taken_over(model):
        if variable.path not in weights:
            new.append(variable.path)
            continue
        value = weights[variable.path].numpy()
        if variable.path in tables:
            value = value[rows[tables[variable.path]]]
        if variable.path in names:
            value = _by_name(variable.numpy(), names[variable.path], value, earlier_names[variable.path])
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"Expected a model in {model_dir} whose weights fit: the same hidden_dim, hidden_units and so on. "
                f"{variable.path} is {list(value.shape)} there and {list(variable.shape)} here."
            )
        variable.assign(value)
    if len(new) == len(_taken_over(model)):
        raise ValueError(f"Expected a model in {model_dir} that shares weights with this one. Found none.")
    known = {
        name: (int(np.sum(each[FIRST_ROW:] != UNKNOWN)), len(each) - FIRST_ROW)
        for name, each in rows.items()
        if not model.schema.tables[name].hash
    }
    return WarmStart(known, tuple(new))


def _taken_over(model: Ranker) -> list[Any]:
    # Vectors of the calendar are differences from a mean, which is of the shares that they learned with.
    shares = [model.calendar.shares] if model.config.calendar else []
    return [*model.trainable_variables, *model.heads.scales, *shares]


def _check_layout(model: Ranker, earlier: Ranker, model_dir: str) -> None:
    here, there = layout(model.schema), layout(earlier.schema)
    for place in sorted(here.keys() & there.keys()):
        if here[place] != there[place]:
            raise ValueError(
                f"Expected a model in {model_dir} whose weights mean the same. In its schema {place} is "
                f"{there[place]!r}, in that of the records {here[place]!r}."
            )


def _by_name(value: np.ndarray, names: Sequence[str], earlier: np.ndarray, earlier_names: Sequence[str]) -> np.ndarray:
    """Returns a weight with the earlier rows of the names that were there; others begin as they are."""
    rows = dict(zip(earlier_names, earlier, strict=True))
    return np.stack([rows.get(name, own) for name, own in zip(names, value, strict=True)])


def _values(earlier: IdMaps, table: str, model_dir: str) -> np.ndarray:
    if table not in earlier.tables:
        raise ValueError(
            f"Expected the values of table {table!r} in {model_dir}/{VALUES_FILE}. Found: {sorted(earlier.tables)}. "
            "An earlier version of this package did not keep them: train that model once more."
        )
    return earlier.tables[table]


def _earlier_rows(values: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Returns for each row of a table the row that it was in the earlier one, int64 [rows]."""
    rows = Vocabulary(pl.Series(earlier)).lookup(pl.Series(values))
    return np.concatenate([[PADDING, UNKNOWN], rows])
