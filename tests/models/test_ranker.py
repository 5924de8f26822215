"""What all rankers share: checks, catalogs, the start of the item bias."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.data import Catalog, Part, Popularity, Records, done, popularity, requests
from atrank_tf.data.known_from import NEVER
from atrank_tf.experiment import Batching
from atrank_tf.models import MODELS, ATRank, Ranker
from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN, Negatives, Task, load_schema, schema_from_dict
from atrank_tf.schema.inputs import history_name, log_rate_name

IDS = ("product", "coupon")
"""Tables of ids alone."""


def _rank(counts: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(counts))


def test_batches_of_training_tell_the_model_what_is_popular(
    records: Records, make_model: Callable[..., Ranker], chosen_popularity: Callable[..., Popularity]
) -> None:
    model = make_model()
    model.training_batches(records)
    for task in model.tasks:
        counted = chosen_popularity(records, task)
        np.testing.assert_array_equal(model.get_layer(f"popularity_{task}").begins, counted.begins)
        np.testing.assert_array_equal(model.get_layer(f"popularity_{task}").counts, counted.counts)


@pytest.mark.parametrize(
    "name", ["atrank", *(pytest.param(name, marks=pytest.mark.slow) for name in ("timeline_atrank", "bi_lstm"))]
)
def test_4_of_a_candidate_training_reads_no_id_before_it_is_known(records: Records, name: str) -> None:
    """Neither its embedding nor its bias."""
    model = MODELS[name](records.schema, catalogs=records.catalogs, hidden_dim=8)
    inputs = next(iter(model.training_batches(records).dataset))[0]
    inputs |= {history_name(group, "id"): inputs[history_name(group, "id")] * 0 for group in records.schema.groups}
    layers = [model.get_layer(f"point_in_time_{entity}") for entity in records.schema.entities]
    changes = []
    for known in (-1, NEVER):
        for layer in layers:
            layer.load(np.full(layer.num_objects, known))
        of_ids = [weight for weight in model.trainable_weights if model.table_of_weight().get(weight.path) in IDS]
        assert len(of_ids) == 4  # Two tables, two biases.
        before = model(inputs, training=True)
        for weight in of_ids:
            rows = np.arange(weight.shape[0])[:, np.newaxis]
            weight.assign(weight + np.where(rows > UNKNOWN, 1.0, 0.0))
        after = model(inputs, training=True)
        changes.append(max(np.abs(after[task] - before[task]).max(initial=0) for task in before))
    assert changes[0] > 0.1
    assert changes[1] == 0


@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_an_object_begins_alike_in_each_group_and_candidates_find_it(combine: str) -> None:
    """Before anything is learned, target attention prefers the candidate itself, whatever was done with it."""
    entities = {name: {"id": {"column": "id", "table": name}, "rows": 12} for name in ("item", "shop")}
    groups = {"view": "item", "buy": "item", "visit": "shop"}
    schema = schema_from_dict(
        {
            "tables": {name: {"dim": 64, "rows": 12} for name in entities},
            "entities": entities,
            "groups": {name: {"entity": entity, "actions": ["done"]} for name, entity in groups.items()},
            "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
        }
    )
    rows = np.arange(12)
    catalog = Catalog(rows[FIRST_ROW:], np.zeros_like(rows), rows.astype(np.int32), {}, {})
    catalogs = dict.fromkeys(entities, catalog)
    model = ATRank(schema, catalogs=catalogs, hidden_dim=64, num_spaces=8, num_blocks=0, combine=combine)
    kernels = {group: model.get_layer(f"projection_{group}").kernel.numpy() for group in groups}
    np.testing.assert_array_equal(kernels["view"], kernels["buy"])
    assert (kernels["view"] != kernels["visit"]).all()
    objects = rows[FIRST_ROW:]
    none = np.zeros((1, 0), np.int64)
    for group in ("view", "buy"):
        inputs = {history_name(each, column): none for each in groups for column in ("id", "action", "timestamp")}
        inputs |= {history_name(group, column): np.full((1, len(objects)), 2) for column in ("action", "timestamp")}
        inputs |= {history_name(group, "id"): objects[None], "now": np.array([9]), "next__candidates": objects[None]}
        memory = model.encode_user(inputs)
        candidates = model.embed_candidates("next", objects[None]).embedding
        _, weights = model.target_attention(candidates, memory["memory"], memory["mask"], return_weights=True)
        np.testing.assert_array_equal(weights.numpy()[0].mean(0).argmax(-1), np.arange(len(objects)))


def test_what_else_was_done_with_candidates_is_counted_too(records: Records) -> None:
    """Where only regular purchases are positives, those at a discount are known."""
    other = Records(records.path)
    task = replace(records.schema.tasks["next_purchase"], actions=("regular",))
    other.schema = replace(records.schema, tasks={**records.schema.tasks, "next_purchase": task})
    model = ATRank(other.schema, catalogs=other.catalogs, tasks=["next_purchase"], hidden_dim=4, num_spaces=2)
    model.load_counts(other)
    (counted,) = popularity(other, [("product", partial(done, group="purchase", action="discounted"))])
    layer = model.get_layer("popularity_purchase_1")
    np.testing.assert_array_equal(layer.begins, counted.begins)
    np.testing.assert_array_equal(layer.counts, counted.counts)
    inputs, *_ = next(iter(model.evaluation_batches(other, Part.VALIDATION)))
    ids, now = inputs["next_purchase__candidates"], inputs["now"]
    found = model.counts("next_purchase", inputs, now)
    first = model.counts.names("next_purchase").index("discounted in purchase 0")
    shares = layer(ids, now)
    np.testing.assert_array_equal(found[..., first : first + shares.shape[-1]], shares)


def test_of_candidates_the_popularity_of_their_features_is_known(records: Records) -> None:
    """Also of those that nobody chose yet; of several values the mean, padding apart."""
    sampled = Records(records.path)  # Coupons, too, which have several values.
    coupon = Task(group="redemption", negatives=Negatives(uniform=1))
    sampled.schema = replace(records.schema, tasks={**records.schema.tasks, "next_redemption": coupon})
    model = ATRank(sampled.schema, catalogs=records.catalogs, hidden_dim=4, num_spaces=2)
    model.load_counts(sampled)
    now, several = np.array([records.schema.split.test_from]), 0
    for task, entity in (("next_purchase", "product"), ("next_redemption", "coupon")):
        names, catalog = model.counts.names(task), records.catalogs[entity]
        found = np.asarray(model.counts(task, {f"{task}__candidates": np.arange(len(catalog))[np.newaxis]}, now))[0]
        features = records.schema.entities[entity].features
        counted = [column for column, feature in features.items() if records.schema.tables[feature.table].dim]
        for place, column in enumerate(counted):
            values = catalog.features[column]
            layer = model.get_layer(f"popularity_{task}__{place}")
            of_values = np.asarray(layer(np.arange(layer.num_objects)[np.newaxis], now))[0]
            first = names.index(f"popularity of {column} 0")
            for object_, own in enumerate(values):
                real = own[own > 0]
                several += len(real) > 1
                if len(real):
                    shares = found[object_, first : first + of_values.shape[-1]]
                    np.testing.assert_allclose(shares, of_values[real].mean(axis=0), rtol=1e-4)
    assert several


def test_of_candidates_of_a_list_the_popularity_of_their_features_is_not_read(records: Records) -> None:
    model = ATRank(records.schema, catalogs=records.catalogs, hidden_dim=4, num_spaces=2)
    names = [name for name in model.counts.names("next_redemption") if name.startswith(("popularity", "shown"))]
    assert {name.rsplit(" ", 1)[0] for name in names} == {"popularity", "shown"}


@pytest.mark.parametrize(
    "settings", [Batching(correct_sampling=True), pytest.param(Batching(negatives=2), marks=pytest.mark.slow)]
)
def test_logits_of_training_are_less_by_the_log_rate_of_each_candidate(records: Records, settings: Batching) -> None:
    """What is learned is how likely an object is the one, however often it is drawn beside others."""
    model = MODELS["bpr_mf"](records.schema, catalogs=records.catalogs, hidden_dim=8)
    corrected = next(iter(model.training_batches(records, settings=settings).dataset))[0]
    names = [log_rate_name(task) for task in model.tasks if records.schema.tasks[task].candidates == "sampled"]
    plain = {name: value for name, value in corrected.items() if name not in names}
    assert set(corrected) - set(plain) == set(names) != set()
    assert set(next(iter(model.training_batches(records, settings=Batching()).dataset))[0]) == set(plain)
    asked, answered = (model(inputs, training=True) for inputs in (plain, corrected))
    for task in model.tasks:
        rate = corrected.get(log_rate_name(task), 0.0)
        np.testing.assert_allclose(asked[task] - rate, answered[task], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(model(plain)[task], model(corrected)[task])


@pytest.mark.parametrize(
    ("name", "negatives"),
    [
        ("timeline_atrank", 1),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("atrank", 1), ("atrank", 4), ("atrank", 7), ("timeline_atrank", 4), ("timeline_atrank", 7))
        ),
    ],
)
def test_scores_are_for_as_many_negatives_as_the_schema_says(records: Records, name: str, negatives: int) -> None:
    """The logit of one of the schema's five, less the log rate, has no gradient whatever number training draws."""
    task = Task(group="purchase", negatives=Negatives(uniform=4))
    drawn = Records(records.path)
    drawn.schema = replace(records.schema, tasks={**records.schema.tasks, "next_purchase": task})
    model = MODELS[name](drawn.schema, tasks=["next_purchase"], catalogs=drawn.catalogs, hidden_dim=4, num_spaces=2)
    inputs, labels, weights = next(iter(model.training_batches(drawn, settings=Batching(negatives=negatives)).dataset))
    rate = np.asarray(inputs.get(log_rate_name("next_purchase"), 0.0))
    real, label = np.asarray(weights["next_purchase"]) > 0, np.asarray(labels["next_purchase"])
    probability = np.broadcast_to(1 / (1 + np.exp(rate - np.log(1 / 4))), label.shape)
    assert label[real].mean() == pytest.approx(1 / (1 + negatives))
    assert probability[real].mean() == pytest.approx(1 / (1 + negatives))


def test_a_model_that_reads_no_popularity_counts_none(records: Records, make_model: Callable[..., Ranker]) -> None:
    model = make_model(popularity=False)
    before = {weight.path: weight.numpy() for weight in model.weights}
    model.load_counts(records)
    changed = {
        weight.path for weight in model.weights if not np.array_equal(weight, before[weight.path], equal_nan=True)
    }
    known_from = {f"point_in_time_{entity}/known_from" for entity in records.schema.entities}
    assert changed == {*known_from, "calendar/shares"}


def test_catalogs_are_inside_the_model(records: Records, make_model: Callable[..., Ranker]) -> None:
    model = make_model()
    found = model.get_layer("catalog_coupon")(np.array([2, 5]))
    expected = records.catalogs["coupon"]
    np.testing.assert_array_equal(found["coupon_id"], expected.table_rows[[2, 5]])
    width = expected.features["category"].shape[1]
    np.testing.assert_array_equal(np.asarray(found["category"])[:, :width], expected.features["category"][[2, 5]])


def test_a_model_of_one_group_has_nothing_of_the_others(records: Records, make_model: Callable[..., Ranker]) -> None:
    model = make_model(groups=["redemption"])
    assert model.tasks == ("next_redemption",)
    assert not [tensor.name for tensor in model.inputs if tensor.name.startswith(("purchase__", "next_purchase__"))]
    assert not [variable.path for variable in model.variables if "product" in variable.path]
    model.check_schema(records.schema)
    model.check_schema(records.select(["redemption"]).schema)


def test_the_group_of_a_task_must_be_read(make_model: Callable[..., Ranker]) -> None:
    with pytest.raises(
        ValueError, match=r"Task 'next_purchase' ranks what group 'purchase' is about.*\['redemption'\]"
    ):
        make_model(groups=["redemption"], tasks=["next_purchase"])


def test_a_schema_without_sizes_is_refused(schema_file: Any) -> None:
    with pytest.raises(ValueError, match="Expected a prepared schema"):
        ATRank(load_schema(str(schema_file)))


def test_a_missing_catalog_is_named(records: Records) -> None:
    with pytest.raises(ValueError, match="Expected a catalog of entity 'coupon'"):
        ATRank(records.schema, catalogs={"product": records.catalogs["product"]}, hidden_dim=8, num_spaces=2)


def test_records_of_another_schema_are_refused_with_the_difference(
    records: Records, make_model: Callable[..., Ranker]
) -> None:
    model = make_model()
    model.check_schema(records.schema)
    groups = {**records.schema.groups, "purchase": replace(records.schema.groups["purchase"], max_length=7)}
    with pytest.raises(
        ValueError, match=r"groups\.purchase\.max_length differs: the model has 10, the records have 7\."
    ):
        model.check_schema(replace(records.schema, groups=groups))


def test_an_unknown_task_is_refused(records: Records) -> None:
    with pytest.raises(ValueError, match=r"Unknown task 'next_purchas' in \[model\]\. Did you mean"):
        ATRank(records.schema, tasks=["next_purchas"])


def test_a_ranker_needs_a_subclass(records: Records) -> None:
    with pytest.raises(TypeError, match="Ranker reads no memory by itself"):
        Ranker(records.schema)


@pytest.mark.parametrize("affinity", [False, True])
def test_the_parts_of_a_score_add_up_in_full_precision(records: Records, affinity: bool) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = MODELS["average_pooling"](
            records.schema, catalogs=records.catalogs, hidden_dim=4, hidden_units=[4], affinity=affinity
        )
        explained = model.explainer("next_purchase")
    finally:
        keras.config.set_dtype_policy("float32")
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    inputs, *_ = next(requests(records, "test", tasks=["next_purchase"]).as_numpy_iterator())
    asked = {tensor.name: inputs[tensor.name] for tensor in explained.inputs}
    found = {name: np.asarray(value) for name, value in explained(asked).items()}
    parts = [value for name, value in found.items() if name.startswith("score_")]
    assert len(parts) == 3 + affinity and {part.dtype for part in parts} == {np.dtype("float32")}
    if affinity:  # Of which the part is a difference, rounded once.
        np.testing.assert_allclose(found["score"], sum(parts), rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(found["score"], parts[0] + parts[1] + parts[2])


ON_ONE_SCALE: dict[str, Any] = {
    **{"hidden_dim": 4, "num_spaces": 1, "intermediate_dim": 4, "hidden_units": [3]},
    "normalize_counts": True,
}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("hotels", "timeline_atrank"),
        pytest.param("records", "atrank", marks=pytest.mark.slow),
        pytest.param("hotels", "atrank", marks=pytest.mark.slow),
        pytest.param("records", "timeline_atrank", marks=pytest.mark.slow),
    ],
)
def test_what_is_counted_of_training_candidates_has_one_scale(
    data: str, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that differ have a mean of 0 and a deviation of 1 over the real candidates, but for what is drawn in."""
    monkeypatch.setattr("atrank_tf.models.ranker._ADAPTED_CANDIDATES", 10_000)
    records = request.getfixturevalue(data)
    model = MODELS[name](records.schema, catalogs=records.catalogs, **ON_ONE_SCALE)
    batches = model.training_batches(
        records, settings=Batching(batch_size=512, batch_tokens=2048, targets_per_user=2), seed=1
    )
    for task in model.tasks:
        layer = model.get_layer(f"count_normalization_{task}")
        read: list[np.ndarray] = []
        with monkeypatch.context() as patch:
            patch.setattr(layer, "call", lambda numbers, read=read: read.append(np.asarray(numbers)) or numbers)
            for inputs, _, _ in batches.dataset.take(min(batches.steps, 100)):
                model(inputs)
                if name == "atrank":  # Requests are padded, timelines packed.
                    read[-1] = read[-1][np.asarray(inputs[f"{task}__candidates"]) != PADDING]
        read = [each.reshape(-1, each.shape[-1]) for each in read]
        raw = np.concatenate(read)
        assert max(map(len, read)) <= 10_000  # So all of them were measured.
        found, deviation = np.asarray(layer(raw)), raw.astype(float).std(axis=0)
        found = found / np.sqrt(1 - (found / 10) ** 2)
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(found.std(axis=0), deviation / np.maximum(deviation, 0.1), rtol=1e-3, atol=1e-5)
        assert (deviation > 0.1).any() and (deviation < 0.1).any()


def test_each_batch_has_the_same_share_in_the_scale(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may be of a few users, whose candidates are alike."""
    monkeypatch.setattr("atrank_tf.models.ranker._ADAPTED_CANDIDATES", 3)
    model = MODELS["timeline_atrank"](
        records.schema, catalogs=records.catalogs, tasks=["next_purchase"], **ON_ONE_SCALE
    )
    measured: list[np.ndarray] = []
    monkeypatch.setattr(model.get_layer("count_normalization_next_purchase"), "adapt", measured.append)
    batches = model.training_batches(records, settings=Batching(batch_tokens=64), seed=1)
    assert 1 < batches.steps < 100
    assert len(measured[0]) == 3 * batches.steps


def test_counts_stay_as_they_are_unless_asked(records: Records) -> None:
    model = MODELS["atrank"](records.schema, catalogs=records.catalogs, hidden_dim=4, hidden_units=[3], num_spaces=1)
    model.training_batches(records, settings=Batching(), seed=1)
    assert model.heads.scales == []
