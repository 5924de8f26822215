"""The contract's cases, and toy SavedModels that the serving tests share."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

_CASES = Path(__file__).parents[2].parent / "shared" / "reference" / "tf_serving_rest_cases.json"

# Cases in scope that the server does not meet, and why. Strict: meeting one makes its test fail until it is taken out.
_NOT_MET = {
    "ok.int8.range_not_checked_here": "may: 300 is refused for int8 rather than wrapped around to 44",
    "e2e.prometheus.enabled": "should: no metrics page",
    "e2e.cors.preflight": "should: no CORS",
    "e2e.cors.headers_on_normal_response": "should: no CORS",
}

# Cases that say what happens over time or outside of the API: they are tests of their own in the file named here.
_TOLD_ELSEWHERE = {
    "url.root": "test_server.py",
    "e2e.version.latest_policy": "test_served_model.py",
    "e2e.version.hot_reload": "test_server.py",
    "e2e.version.load_failure_keeps_old": "test_server.py",
}


def pytest_configure(config):
    config.addinivalue_line("markers", "contract(level): runs once for each case of the REST contract at this level")


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("contract")
    if marker is None:
        return
    if not _CASES.is_file():
        reason = f"the cases of the REST contract are not there ({_CASES.name})"
        metafunc.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason=reason))])
        return
    cases = [case for case in json.loads(_CASES.read_text("utf-8"))["cases"] if _in_scope(case, *marker.args)]
    metafunc.parametrize("case", [pytest.param(case, id=case["id"], marks=_marks(case)) for case in cases])


def _in_scope(case, level):
    # Classify and regress are a later issue.
    path = case["request"].get("path", "")
    is_example_call = level == "http" and path.endswith((":classify", ":regress"))
    return case["request"]["level"] == level and not is_example_call and case["id"] not in _TOLD_ELSEWHERE


def _marks(case):
    reason = _NOT_MET.get(case["id"])
    return [pytest.mark.xfail(reason=reason, strict=True)] if reason else []


class _Affine(tf.Module):
    """y = slope * x + 2, element by element, so that the graph takes any shape."""

    def __init__(self, slope):
        super().__init__()
        self.slope = tf.Variable(slope)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def predict(self, x):
        return {"y": self.slope * x + 2.0}


class _Typed(tf.Module):
    """A table of strings, integers, a kernel that is choosy about shapes, and outputs that REST cannot carry."""

    def __init__(self):
        super().__init__()
        keys = tf.constant(["a", "b"])
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(keys, tf.constant([1, 2], tf.int64)), 0
        )
        self.matrix = tf.Variable([[1.0, 2.0], [3.0, 4.0]])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="word"),
            tf.TensorSpec([None], tf.int64, name="offset"),
        ]
    )
    def look_up(self, word, offset):
        return {"number": self.table.lookup(word) + offset, "word_bytes": word}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="m")])
    def multiply(self, m):
        return {"product": tf.matmul(m, self.matrix)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="m")])
    def ragged(self, m):
        return {"rows": tf.RaggedTensor.from_tensor(m)}


@pytest.fixture(scope="session")
def save_affine():
    """`save_affine(path, slope=0.5)` saves the model of the contract's cases: y = slope * x + 2."""

    def save(path, slope=0.5):
        module = _Affine(slope)
        tf.saved_model.save(module, str(path), signatures={"serving_default": module.predict})

    return save


@pytest.fixture(scope="session")
def half_plus_two(tmp_path_factory, save_affine):
    """Base path that holds version 00000123 of y = 0.5 * x + 2. Not to be written to."""
    base = tmp_path_factory.mktemp("half_plus_two")
    save_affine(base / "00000123")
    return str(base)


@pytest.fixture(scope="session")
def typed_model(tmp_path_factory):
    """SavedModel folder with string, int64 and float inputs and several signatures. Not to be written to."""
    path = str(tmp_path_factory.mktemp("typed") / "1")
    module = _Typed()
    signatures = {"serving_default": module.look_up, "multiply": module.multiply, "ragged": module.ragged}
    tf.saved_model.save(module, path, signatures=signatures)
    return path
