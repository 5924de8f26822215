"""The laws of `docs/architecture.md` that every model holds, in every form in which it ships."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import models
from atrank_tf.data import evaluation_batches
from atrank_tf.experiment.model_configs import HEADS
from atrank_tf.layers import Dropout, IdDropout
from atrank_tf.models import MODELS, Ranker, SequenceRanker
from atrank_tf.schema import PADDING, Candidates

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "atrank": ("atrank", {}),
    "atrank as in the authors' code": (
        "atrank",
        {"score": "scaled_dot", "attention_activation": "relu", "combine": "concat", "ranking": ["dot"]},
    ),
    "atrank with two blocks": (
        "atrank",
        {"num_blocks": 2, "item_bias": False, "activation": "relu"},
    ),
    "atrank of one task, without self-attention": (
        "atrank",
        {"num_blocks": 0, "ranking": ["dnn"], "tasks": ["next_redemption"]},
    ),
    "timeline atrank, normalized counts": (
        "timeline_atrank",
        {"ranking": ["dot", "dnn"], "normalize_counts": True},
    ),
    "timeline atrank in blocks": ("timeline_atrank", {"num_blocks": 2, "window": 5}),
    "timeline atrank of codes side by side, without affinity, popularity and calendar": (
        "timeline_atrank",
        {"combine": "concat", "ranking": ["dnn"], "affinity": False, "popularity": False, "calendar": False},
    ),
    "bpr_mf": ("bpr_mf", {"ranking": ["dot", "dnn"]}),
    "average pooling": ("average_pooling", {}),
    "cnn": ("cnn", {"windows": 3, "ranking": ["dnn"]}),
    "bi_lstm": ("bi_lstm", {"ranking": ["dnn"]}),
    "bi_lstm_attention": ("bi_lstm_attention", {}),
    "din": ("din", {"attention_units": [5], "ranking": ["dot", "dnn"]}),
    "sasrec": ("sasrec", {"num_heads": 2, "ranking": ["dot", "dnn"]}),
}
Scores = dict[str, np.ndarray]
OF_MODEL = {
    name: [variant for variant, (model, _) in VARIANTS.items() if model == name] for name, _ in VARIANTS.values()
}
FEW = {"atrank", "timeline_atrank", "bi_lstm", "bpr_mf"}
"""Models of the fast tests: ours, and baselines that read a sequence and nothing."""
ONE_OF_EACH = [
    pytest.param(variant, marks=pytest.mark.slow if place or model not in FEW else ())
    for model, variants in OF_MODEL.items()
    for place, variant in enumerate(variants)
]
"""Of `FEW` models the first variant, the one with most in it; `make test-slow` has the others."""
SMALL = {
    "hidden_dim": 12,
    "num_spaces": 3,
    "intermediate_dim": 10,
    "hidden_units": [9],
    "dropout": 0.3,
    "id_dropout": 0.3,
}


def _small(name: str) -> dict[str, Any]:
    """The sizes that a model of this name has."""
    keys = {field.name for field in fields(MODELS[name].Config)}
    return {key: value for key, value in SMALL.items() if key in keys}


def test_every_model_has_a_variant() -> None:
    assert {name for name, _ in VARIANTS.values()} == set(MODELS)
    exported = {getattr(models, name) for name in models.__all__ if isinstance(getattr(models, name), type)}
    assert {cls for cls in exported if issubclass(cls, Ranker)} - {Ranker, SequenceRanker} == set(MODELS.values())


def test_every_head_has_a_variant() -> None:
    configs = [MODELS[name].Config(**_small(name) | changes) for name, changes in VARIANTS.values()]
    assert {name for config in configs for name in config.ranking} == set(HEADS)


@pytest.fixture(scope="module", params=ONE_OF_EACH)
def model(request: pytest.FixtureRequest, records: Any, load_counts: Callable[[Any], None]) -> Ranker:
    keras.utils.set_random_seed(7)
    name, changes = VARIANTS[request.param]
    model = MODELS[name](records.schema, catalogs=records.catalogs, **(_small(name) | changes))
    load_counts(model)
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:  # Biases start at 0, which would hide what they do.
        weight.assign(weight + rng.normal(scale=0.2, size=weight.shape))
    for scale in model.heads.scales:
        scale.assign(rng.uniform(0.5, 2.0, scale.shape))
    return model


@pytest.fixture(scope="module")
def batch(records: Any) -> dict[str, Any]:
    """Inputs in which every task has candidates, one user has no history and one no behavior of one group."""
    found: dict[str, Any] = {}
    for inputs, labels, _ in evaluation_batches(records, "test"):
        active = next(task for task in labels if labels[task].shape[1])
        for name, value in inputs.items():
            if name.startswith(active) or name not in found:
                found[name] = value.numpy()[:11]
    for group in records.schema.groups:
        for column in ("id", "action", "timestamp"):
            found[f"{group}__{column}"][3] = 0
    for column in ("id", "action", "timestamp"):
        found[f"purchase__{column}"][5] = 0
    return found


@pytest.fixture(scope="module")
def training_inputs(records: Any) -> Callable[[Ranker], dict[str, Any]]:
    """Inputs of a batch with which a model is trained; made once for all that are trained alike."""
    made: dict[Any, dict[str, Any]] = {}

    def of(model: Ranker) -> dict[str, Any]:
        key = (model.make_batches, model.tasks, model.config.groups, model.config.reads_affinity)
        if key not in made:  # `model.training_batches` would set weights.
            made[key] = next(iter(model.make_batches(model.view(records), tasks=model.tasks).dataset))[0]
        return made[key]

    return of


@pytest.fixture(scope="module")
def scores(model: Ranker, batch: dict[str, Any]) -> Scores:
    """The scores of `batch`: what most laws compare with."""
    return _scores(model, batch)


@pytest.fixture(scope="module")
def graph(model: Ranker) -> Callable[[dict[str, Any]], Scores]:
    """The model as one graph for batches of any size."""
    forms = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs}
    call = tf.function(lambda given: model(given, training=False), input_signature=[forms])

    def score(inputs: dict[str, Any]) -> Scores:
        found = call({name: tf.constant(value) for name, value in _of(model, inputs).items()})
        return {task: np.asarray(logits) for task, logits in found.items()}

    return score


@pytest.fixture(scope="module")
def encoder(model: Ranker) -> Any:
    return model.encoder()


@pytest.fixture
def drops(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Of each call of a dropout of a rate above 0: the layer's path, and whether it dropped."""
    found: list[tuple[str, bool]] = []
    for layer in (Dropout, IdDropout):
        monkeypatch.setattr(layer, "call", _noting(layer.call, found))
    return found


def _noting(call: Callable[..., Any], calls: list[tuple[str, bool]]) -> Callable[..., Any]:
    def noted(layer: Any, inputs: Any, training: bool | None = None) -> Any:
        dropped = call(layer, inputs, training)
        if layer.rate:
            calls.append((layer.path, dropped is not inputs))
        return dropped

    return noted


def _scores(model: Any, inputs: dict[str, Any]) -> Scores:
    return {task: np.asarray(logits) for task, logits in model(_of(model, inputs), training=False).items()}


def _of(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs that a model has."""
    return {tensor.name: inputs[tensor.name] for tensor in model.inputs}


def _assert_same(found: Scores, expected: Scores, tolerance: float = 1e-5) -> None:
    assert set(found) == set(expected)
    for task, scores in expected.items():
        np.testing.assert_allclose(found[task], scores, rtol=tolerance, atol=tolerance)


def test_scores_are_finite_float32_and_differ(batch: dict[str, Any], scores: Scores) -> None:
    for task, found in scores.items():
        assert found.dtype == np.float32
        assert found.shape == batch[f"{task}__candidates"].shape
        assert np.isfinite(found).all()
        assert found.std() > 1e-3


def test_1_padding_never_matters(model: Ranker, batch: dict[str, Any], scores: Scores) -> None:
    rng = np.random.default_rng(1)
    padded = dict(batch)
    for group in model.schema.groups:
        empty = batch[f"{group}__id"] == PADDING
        for column, garbage in (("id", 0), ("action", 2), ("timestamp", 1_234_567)):
            name = f"{group}__{column}"
            wider = np.pad(np.where(empty, garbage, batch[name]), ((0, 0), (0, 4)), constant_values=garbage)
            padded[name] = wider
        order = np.stack([rng.permutation(padded[f"{group}__id"].shape[1]) for _ in range(len(empty))])
        for column in ("id", "action", "timestamp"):  # Padding may even stand between behaviors.
            padded[f"{group}__{column}"] = np.take_along_axis(padded[f"{group}__{column}"], order, axis=1)
    _assert_same(_scores(model, padded), scores)


def test_2_a_score_depends_on_no_other_user_no_order_and_no_other_candidate_but_of_its_list(
    model: Ranker, batch: dict[str, Any], scores: Scores, graph: Callable[[dict[str, Any]], Scores]
) -> None:
    for user in (0, 5):
        alone = {name: value[user : user + 1] for name, value in batch.items()}
        _assert_same(graph(alone), {task: expected[user : user + 1] for task, expected in scores.items()})
    candidates = {name for name in batch if name.startswith(tuple(f"{task}_" for task in model.tasks))}
    reverse = {name: value[:, ::-1] if name in candidates else value for name, value in batch.items()}
    # The mean of a list is rounded by its order, and a score is a sum of parts as large as the largest score.
    size = max(np.abs(expected).max() for expected in scores.values())
    _assert_same(graph(reverse), {task: expected[:, ::-1] for task, expected in scores.items()}, 1e-6 * max(10, size))
    first = {name: value[:, :1] if name in candidates else value for name, value in batch.items()}
    found = graph(first)
    for task, expected in scores.items():
        same = np.isclose(found[task], expected[:, :1], rtol=1e-5, atol=1e-5).all()
        shown = model.schema.tasks[task].candidates is Candidates.IMPRESSIONS
        assert same != (shown and model.config.reads_context and model.config.within_list)


def test_3_the_order_of_rows_within_a_group_does_not_matter(
    model: Ranker, batch: dict[str, Any], scores: Scores
) -> None:
    shuffled = dict(batch)
    for group in model.schema.groups:
        for column in ("id", "action", "timestamp"):
            shuffled[f"{group}__{column}"] = batch[f"{group}__{column}"][:, ::-1]
    _assert_same(_scores(model, shuffled), scores)


def test_3_the_order_of_groups_does_not_matter(
    model: Ranker, batch: dict[str, Any], scores: Scores, records: Any
) -> None:
    turned = replace(model.schema, groups=dict(reversed(model.schema.groups.items())))
    other = type(model)(turned, catalogs=records.catalogs, **vars(model.config))
    weights = {weight.path: weight for weight in model.weights}
    assert {weight.path for weight in other.weights} == set(weights)
    for weight in other.weights:
        weight.assign(weights[weight.path])
    _assert_same(_scores(other, batch), scores)


def test_5_encoder_and_scorer_agree_with_the_whole(
    model: Ranker, encoder: Any, batch: dict[str, Any], scores: Scores
) -> None:
    memory = {name: value.numpy() for name, value in encoder(_of(encoder, batch), training=False).items()}
    for task in model.tasks:
        scorer = model.scorer(task)
        _assert_same(_scores(scorer, {**batch, **memory}), {task: scores[task]})


def test_5_an_explainer_gives_the_scores_and_the_parts_that_add_up_to_them(
    model: Ranker, batch: dict[str, Any], scores: Scores
) -> None:
    task = model.tasks[-1]  # The one that has a context.
    explainer = model.explainer(task)
    found = {name: np.asarray(value) for name, value in explainer(_of(explainer, batch), training=False).items()}
    _assert_same({task: found["score"]}, {task: scores[task]})
    parts = [value for name, value in found.items() if name.startswith("score_")]
    assert parts
    np.testing.assert_allclose(sum(parts), found["score"], rtol=1e-5, atol=1e-5)
    real = found["behavior_id"] != PADDING
    for name in {"self_attention", "target_attention"} & set(found):
        seen = found[name].max(axis=-2) > 0  # By anyone.
        assert not (seen & ~np.expand_dims(real, list(range(1, seen.ndim - 1)))).any()
        total = found[name].sum(axis=-1)
        of_someone = np.expand_dims(real.any(axis=1), list(range(1, total.ndim)))
        rows = np.broadcast_to(of_someone, total.shape)
        if name == "self_attention":
            rows = rows & real[:, None, None]
        assert rows.any() and (total[rows] > 0).all() and (total[rows] < 1).all()  # The rest is the sink's.


def test_5_eager_and_graph_agree(
    batch: dict[str, Any], scores: Scores, graph: Callable[[dict[str, Any]], Scores]
) -> None:
    _assert_same(graph(batch), scores)


def test_5_a_graph_takes_nobody(batch: dict[str, Any], graph: Callable[[dict[str, Any]], Scores]) -> None:
    """As a worker does that has no more batches for validation."""
    for places in (1, 100):
        nobody = {name: value[:0, :places] if value.ndim > 1 else value[:0] for name, value in batch.items()}
        for task, logits in graph(nobody).items():
            assert logits.shape == (0, min(places, batch[f"{task}__candidates"].shape[1]))


@pytest.mark.slow
@pytest.mark.parametrize("model", VARIANTS, indirect=True)
def test_5_eager_and_xla_agree(model: Ranker, batch: dict[str, Any], scores: Scores) -> None:
    inputs = {name: tf.constant(value) for name, value in _of(model, batch).items()}
    found = tf.function(lambda: model(inputs, training=False), jit_compile=True)()
    largest = max(np.abs(each).max() for each in scores.values())  # XLA adds up in another order, and so rounds it so.
    _assert_same({task: np.asarray(logits) for task, logits in found.items()}, scores, 1e-6 * max(10.0, largest))


LOADER = """
import sys, keras, numpy as np, atrank_tf.models
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/model.keras")
scores = model(dict(np.load(folder + "/batch.npz")), training=False)
np.savez(folder + "/scores.npz", **{task: np.asarray(logits) for task, logits in scores.items()})
"""


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(variant, marks=() if name == "atrank" and not place else pytest.mark.slow)
        for name, variants in OF_MODEL.items()
        for place, variant in enumerate(variants)
    ],
    indirect=True,
)
def test_5_a_fresh_process_loads_the_model_and_agrees(
    model: Ranker, batch: dict[str, Any], scores: Scores, run_command: Callable[..., Any], tmp_path: Path
) -> None:
    """In a process that has imported the package and built no model."""
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "batch.npz", **_of(model, batch))
    done = run_command("-c", LOADER, tmp_path)
    assert done.returncode == 0, done.stderr
    _assert_same(dict(np.load(tmp_path / "scores.npz")), scores)


def test_6_no_history_is_read_as_exactly_nothing(
    model: Ranker, encoder: Any, batch: dict[str, Any], scores: Scores
) -> None:
    memory = encoder({name: value[3:4] for name, value in _of(encoder, batch).items()})
    assert not np.asarray(memory["mask"]).any()
    np.testing.assert_array_equal(np.asarray(memory["memory"]), 0.0)
    none = dict(batch)
    for group in model.schema.groups:
        for column in ("id", "action", "timestamp"):
            none[f"{group}__{column}"] = np.zeros((11, 0), np.int64)
    found = _scores(model, none)
    for task in model.tasks:
        assert np.isfinite(found[task]).all()
        np.testing.assert_allclose(found[task][3], scores[task][3], rtol=1e-5, atol=1e-5)


def test_6_ids_never_seen_get_finite_scores(model: Ranker, batch: dict[str, Any]) -> None:
    unknown = {
        name: np.ones_like(value) if name.endswith(("__id", "__action", "__candidates")) else value
        for name, value in batch.items()
    }
    for found in _scores(model, unknown).values():
        assert np.isfinite(found).all()


def test_summary_config_and_clone(model: Ranker) -> None:
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert any("projection_purchase" in line for line in lines)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    every = {field.name for field in fields(model.config)}
    assert set(model.get_config()["config"]) == every, "A later version may have other defaults."
    forms = {weight.path: weight.shape for weight in model.trainable_weights}
    assert len(forms) == len(model.trainable_weights), "A warm start finds weights by their paths."
    assert {weight.path: weight.shape for weight in again.trainable_weights} == forms
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in model.weights]


def test_10_every_dropout_drops_in_training_and_in_training_only(
    model: Ranker, training_inputs: Callable[[Ranker], dict[str, Any]], drops: list[tuple[str, bool]]
) -> None:
    """A layer that hands `training=None` to another one takes it from all layers after it."""
    inputs = training_inputs(model)
    model(inputs, training=False)
    assert not any(dropped for _, dropped in drops)
    drops.clear()
    model(inputs, training=True)
    assert {path for path, dropped in drops if dropped} == {
        layer.path for layer in model._flatten_layers() if isinstance(layer, Dropout) and layer.rate
    }
    assert all(dropped for _, dropped in drops)


def test_a_batch_without_candidates_of_a_task_trains_the_others(
    make_model: Callable[..., Ranker], batch: dict[str, Any]
) -> None:
    from atrank_tf.experiment import Training
    from atrank_tf.training import compile_model

    model = make_model()
    compile_model(model, Training(), steps=10)
    model.run_eagerly = True
    inputs = {name: value[:, :0] if name.startswith("next_redemption__") else value for name, value in batch.items()}
    rows, candidates = batch["next_purchase__candidates"].shape
    labels = {"next_purchase": np.eye(rows, candidates), "next_redemption": np.zeros((rows, 0))}
    weights = {task: np.ones_like(label) for task, label in labels.items()}
    logs = model.train_on_batch(inputs, labels, weights, return_dict=True)
    assert np.isfinite(logs["loss"]) and logs["loss"] > 0
