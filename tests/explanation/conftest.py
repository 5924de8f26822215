"""A model with something to explain, and requests of it, shared by the tests of the room."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.explanation import Explainer, Names, Request, requests_of_users


@pytest.fixture(scope="session")
def model(make_model: Callable[..., Any]) -> Any:
    """Two blocks; weights large enough for attention to differ from place to place."""
    keras.utils.set_random_seed(7)
    model = make_model(num_blocks=2)
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return model


@pytest.fixture(scope="session")
def names(records: Any) -> Names:
    return Names(records)


@pytest.fixture(scope="session")
def explainer(model: Any, names: Names) -> Explainer:
    return Explainer(model, names)


@pytest.fixture(scope="session")
def requests(records: Any, model: Any) -> list[Request]:
    """Requests of both tasks, of three users with behaviors of both groups."""
    return requests_of_users(records, "test", model.tasks, [], 3)


@pytest.fixture(scope="session")
def explanations(explainer: Explainer, requests: list[Request]) -> list[Any]:
    return [explainer.explain_one(request) for request in requests]


@pytest.fixture(scope="session")
def score(model: Any) -> Callable[[str, Any], np.ndarray]:
    """(task, inputs of one request) -> its scores [N] by the whole model, padding left out."""

    def of_request(task: str, inputs: Any) -> np.ndarray:
        others = {tensor.name: np.zeros([size or 1 for size in tensor.shape]) for tensor in model.inputs}
        whole = {name: np.asarray(inputs.get(name, value)) for name, value in others.items()}
        found: np.ndarray = model(whole, training=False)[task].numpy()[0]
        return found[inputs[f"{task}__candidates"][0] > 0]

    return of_request
