"""BPR-MF: a user is who they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from atrank_tf.models import BPRMF
from atrank_tf.schema import Features


def _inputs(model: BPRMF, users: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = {}
    for tensor in model.inputs:
        if tensor.name == "user__income":
            inputs[tensor.name] = rng.normal(size=users).astype("float32")
        else:
            shape = (users, *(size or 4 for size in tensor.shape[1:]))
            inputs[tensor.name] = rng.integers(2, 4, shape)
    return inputs


def test_a_score_is_the_product_of_the_users_and_the_objects_vectors_and_the_objects_bias(records: Any) -> None:
    model = BPRMF(records.schema, catalogs=records.catalogs, hidden_dim=5, tasks=("next_purchase",))
    bias = model.get_layer("item_bias_next_purchase").embeddings
    bias.assign(np.random.default_rng(1).normal(size=bias.shape))
    inputs = _inputs(model, 3)
    profile = np.asarray(model.profile(inputs))
    user = profile @ model.get_layer("user_projection").kernel.numpy()
    candidates = inputs["next_purchase__candidates"]
    projection = model.get_layer("projection_purchase")
    objects = np.asarray(model.objects.objects("product", candidates)) @ projection.kernel.numpy()
    rows = records.catalogs["product"].table_rows[candidates]
    expected = np.einsum("bd,bnd->bn", user, objects) / np.sqrt(5) + bias.numpy()[rows, 0]
    np.testing.assert_allclose(np.asarray(model(inputs)["next_purchase"]), expected, rtol=1e-5, atol=1e-6)


def test_behaviors_are_not_read(records: Any) -> None:
    model = BPRMF(records.schema, catalogs=records.catalogs, hidden_dim=5)
    inputs = _inputs(model, 3)
    expected = model(inputs)
    for name in inputs:
        if name.startswith(("purchase__", "redemption__")):
            inputs[name] = inputs[name][:, ::-1] + 1
    for task, scores in model(inputs).items():
        np.testing.assert_array_equal(np.asarray(scores), np.asarray(expected[task]))
    assert not [weight.path for weight in model.weights if weight.path.startswith("behavior_")]


def test_a_schema_without_users_is_refused(records: Any) -> None:
    tables = {name: table for name, table in records.schema.tables.items() if name != "age"}
    schema = replace(records.schema, user=Features(), tables=tables)
    with pytest.raises(ValueError, match=r"Expected \[user\] in the schema: this model knows a user by it alone"):
        BPRMF(schema, catalogs=records.catalogs)
