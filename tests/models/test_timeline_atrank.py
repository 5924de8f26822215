"""One pass over a timeline is as many requests; a memory does not depend on what comes later."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, product
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import requests, timeline_batches
from atrank_tf.experiment import Batching
from atrank_tf.models import TimelineATRank
from atrank_tf.schema import Schema, Ties
from atrank_tf.schema.inputs import candidate_specs, profile_specs


def _model(schema: Schema, catalogs: Any, load_counts: Callable[[Any], None], num_blocks: int = 2) -> TimelineATRank:
    keras.utils.set_random_seed(5)
    ranking = ("dot", "dnn")
    config = {"hidden_dim": 12, "num_spaces": 3, "intermediate_dim": 10, "hidden_units": (9,), "dropout": 0.3}
    model = TimelineATRank(schema, catalogs=catalogs, num_blocks=num_blocks, ranking=ranking, window=7, **config)
    load_counts(model)
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:  # Time biases and repeats start at 0, which would hide what they do.
        weight.assign(weight + rng.normal(scale=0.2, size=weight.shape))
    return model


@pytest.fixture(scope="module", params=["ordered", pytest.param("strict", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, records: Any, load_counts: Callable[[Any], None]) -> TimelineATRank:
    purchase = replace(records.schema.tasks["next_purchase"], ties=Ties(request.param))
    schema = replace(records.schema, tasks={**records.schema.tasks, "next_purchase": purchase})  # The other is strict.
    return _model(schema, records.catalogs, load_counts)


@pytest.fixture(scope="module")
def batches(model: TimelineATRank, records: Any) -> list[Any]:
    """Timelines, several targets each; some of a moment that holds several behaviors."""
    other = records.__class__(records.path)
    other.schema = model.schema
    made = timeline_batches(other, settings=Batching(batch_tokens=120), seed=1)
    return list(islice(made.dataset.as_numpy_iterator(), made.steps))


def test_3_the_order_of_groups_does_not_matter(model: TimelineATRank, batches: list[Any], records: Any) -> None:
    turned = replace(model.schema, groups=dict(reversed(model.schema.groups.items())))
    other = TimelineATRank(turned, catalogs=records.catalogs, **vars(model.config))
    weights = {weight.path: weight for weight in model.weights}
    assert {weight.path for weight in other.weights} == set(weights)
    for weight in other.weights:
        weight.assign(weights[weight.path])
    inputs, _, real = next(each for each in batches if all(each[2][task].shape[1] for task in model.tasks))
    expected, found = model(inputs, training=False), other(inputs, training=False)
    for task in model.tasks:
        seen = real[task] > 0
        assert expected[task].numpy()[seen].std() > 0.1
        np.testing.assert_allclose(found[task].numpy()[seen], expected[task].numpy()[seen], rtol=1e-5, atol=1e-5)


def _request(inputs: dict[str, Any], schema: Schema, task: str, row: int, moment: int) -> dict[str, Any]:
    """What a server would be asked at one moment of one timeline; of other tasks, some moment's candidates."""
    found = {spec.name: inputs[spec.name][row : row + 1] for spec in profile_specs(schema)}
    found["now"] = inputs[f"{task}__now"][row, moment : moment + 1]
    for name, group in schema.groups.items():
        seen = inputs[f"{task}__{name}__seen"][row, moment]
        for column in ("id", "action", "timestamp"):
            window = slice(max(0, seen - group.max_length), seen)
            found[f"{name}__{column}"] = inputs[f"{name}__{column}"][row : row + 1, window]
    for other in schema.tasks:
        for spec in candidate_specs(schema, other):
            found[spec.name] = inputs[spec.name][row : row + 1, moment if other == task else 0]
    return found


def _only(inputs: dict[str, Any], schema: Schema, chosen: dict[str, np.ndarray]) -> dict[str, Any]:
    """The history inputs with only some behaviors left; padding where the others stood."""
    names = {f"{group}__{column}": group for group in schema.groups for column in ("id", "action", "timestamp")}
    found = {name: np.where(chosen[group], inputs[name], 0) for name, group in names.items()}
    return {name: tf.constant(value) for name, value in {**found, "now": inputs["now"]}.items()}


@pytest.mark.parametrize(("parts", "from_empty"), [pytest.param(2, True, marks=pytest.mark.slow), (4, False)])
def test_5_behaviors_that_are_appended_to_a_memory_give_the_memory_of_the_whole_history(
    model: TimelineATRank, records: Any, parts: int, from_empty: bool
) -> None:
    inputs, _, _, _ = next(requests(records, "test", tasks=["next_redemption"]).as_numpy_iterator())
    groups = list(model.schema.groups)
    moments = np.concatenate([inputs[f"{group}__timestamp"] for group in groups], axis=1)
    ends = np.stack(
        [
            np.quantile(row[row > 0], np.linspace(0, 1, parts + 1)) if row.any() else np.zeros(parts + 1)
            for row in moments
        ]
    )
    ends[:, 0] = 0
    memory = before = model.empty_memory(len(moments))
    times = {group: inputs[f"{group}__timestamp"] for group in groups}
    for part in range(parts):
        begin, end = ends[:, part, None], ends[:, part + 1, None]
        chosen = {group: (time > begin) & (time <= end) for group, time in times.items()}
        new = _only(inputs, model.schema, chosen)
        before, memory = memory, model.append(memory, new) if part or from_empty else model.growing_memory(new)
        assert memory["recent"].shape[2] == memory["recent_timestamp"].shape[1] <= 2 * model.causal_blocks.window
    old = before["memory"].numpy()  # What was there stays as it was, to the bit.
    np.testing.assert_array_equal(memory["memory"].numpy()[:, : old.shape[1]], old)
    everything = _only(inputs, model.schema, {group: inputs[f"{group}__timestamp"] > 0 for group in groups})
    whole = model.encoder()(everything, training=False)
    assert int(whole["mask"].numpy().sum()) == int(memory["mask"].numpy().sum()) > 100
    scorer = model.scorer("next_redemption")
    asked = [tensor.name for tensor in scorer.inputs]
    expected, found = (
        scorer({name: tf.constant({**inputs, **known}[name]) for name in asked}, training=False)["next_redemption"]
        for known in (whole, memory)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert expected.numpy().std() > 0.1


def _is_cut(inputs: dict[str, Any], schema: Schema, task: str, row: int, moment: int) -> bool:
    """Whether a moment's history lacks behaviors that stand in its row for the sake of earlier moments."""
    return any(inputs[f"{task}__{name}__seen"][row, moment] > g.max_length for name, g in schema.groups.items())


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_timeline_is_scored_as_its_moments_one_by_one(
    model: TimelineATRank, batches: list[Any], records: Any, load_counts: Callable[[Any], None], blocks: int
) -> None:
    """But for moments whose history is cut: what is kept of it has attended to what is not, where there are blocks."""
    model = model if blocks else _model(model.schema, records.catalogs, load_counts, num_blocks=0)
    compared, cut, cuts = dict.fromkeys(model.tasks, 0), 0, 0 if blocks else 3
    for inputs, _, weights in batches:
        if min(compared.values()) == 6 and cut == cuts:
            break
        if not all(weights[task].shape[1] for task in model.tasks):
            continue
        outputs = model(inputs, training=False)
        for task in model.tasks:
            together = outputs[task].numpy()
            assert together.shape == inputs[f"{task}__candidates"].shape
            for row, moment in zip(*np.nonzero(weights[task].any(axis=2)), strict=True):
                if _is_cut(inputs, model.schema, task, row, moment):
                    if cut == cuts:
                        continue
                    cut += 1
                elif compared[task] == 6:
                    continue
                else:
                    compared[task] += 1
                alone = model(_request(inputs, model.schema, task, row, moment), training=False)[task].numpy()[0]
                real = weights[task][row, moment] > 0
                np.testing.assert_allclose(together[row, moment][real], alone[real], rtol=1e-5, atol=1e-5)
    assert min(compared.values()) == 6
    assert cut == cuts


def test_4_nothing_from_a_targets_moment_on_reaches_its_scores(model: TimelineATRank, batches: list[Any]) -> None:
    """Not even through the behaviors that the target does see."""
    changed = 0
    for (inputs, _, weights), task in product(batches[:3], model.tasks):
        ordered = model.schema.tasks[task].ties is Ties.ORDERED
        group = model.schema.tasks[task].group
        before = model(inputs, training=False)[task].numpy()
        moments = np.nonzero(weights[task].any(axis=2).any(axis=0))[0]
        for moment in moments[:: max(1, len(moments) // 3)]:
            now = inputs[f"{task}__now"][:, moment : moment + 1]
            other = dict(inputs)
            for name in model.schema.groups:
                hidden = inputs[f"{name}__timestamp"] >= now
                if ordered and name == group:
                    place = np.arange(hidden.shape[1])
                    hidden = place >= inputs[f"{task}__{name}__seen"][:, moment : moment + 1]
                hidden &= inputs[f"{name}__id"] > 0
                other[f"{name}__id"] = np.where(hidden, 2 + (inputs[f"{name}__id"] - 1) % 5, inputs[f"{name}__id"])
                other[f"{name}__action"] = np.where(hidden, 1, inputs[f"{name}__action"])
                changed += int(hidden.sum())
            after = model(other, training=False)[task].numpy()
            np.testing.assert_allclose(after[:, moment], before[:, moment], rtol=1e-5, atol=1e-5)
    assert changed > 50


def test_appending_behaviors_changes_no_earlier_position_of_the_memory(
    model: TimelineATRank, batches: list[Any]
) -> None:
    encoder = model.encoder()
    inputs = {name: value for name, value in batches[0][0].items() if name in {i.name for i in encoder.inputs}}
    inputs["now"] = batches[0][0]["next_redemption__now"][:, 0]
    whole = {name: value.numpy() for name, value in encoder(inputs, training=False).items()}
    widths = [inputs[f"{group}__id"].shape[1] for group in model.schema.groups]
    for cut in (10 * 86_400, 40 * 86_400):
        early = dict(inputs)
        for group in model.schema.groups:
            late = inputs[f"{group}__timestamp"] >= cut
            for column in ("id", "action", "timestamp"):
                early[f"{group}__{column}"] = np.where(late, 0, inputs[f"{group}__{column}"])
        part = {name: value.numpy() for name, value in encoder(early, training=False).items()}
        assert part["mask"].shape == (len(inputs["now"]), sum(widths))
        kept = part["mask"]
        assert 0 < kept.sum() < whole["mask"].sum()
        np.testing.assert_allclose(part["memory"][kept], whole["memory"][kept], rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # tests/models/test_task_model.py does the same with the defaults.
def test_fit_takes_timelines_and_evaluates_requests(records: Any) -> None:
    from atrank_tf.data import evaluation_batches
    from atrank_tf.experiment import Training
    from atrank_tf.training import compile_model

    small = {
        "hidden_dim": 8,
        "num_spaces": 2,
        "num_blocks": 1,
        "intermediate_dim": 8,
        "ranking": ["dot"],
        "dropout": 0.3,
    }
    model = TimelineATRank(records.schema, catalogs=records.catalogs, **small)
    batches = model.training_batches(records, settings=Batching(batch_tokens=200), seed=1)
    compile_model(model, Training(learning_rate=1e-2), steps=10)
    logs = model.fit(
        batches.dataset,
        steps_per_epoch=batches.steps,
        epochs=2,
        shuffle=False,
        validation_data=evaluation_batches(records, "validation"),
        verbose=0,
    ).history
    assert logs["loss"][1] < logs["loss"][0]
    assert 0 < logs["val_next_purchase_auc"][-1] <= 1
