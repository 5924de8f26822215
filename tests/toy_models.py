"""Small SavedModels that are none of the package's: fixtures of whatever reads or serves any SavedModel."""

import pytest
import tensorflow as tf


class _Affine(tf.Module):
    """y = slope * x + 2, element by element, so that the graph takes any shape."""

    def __init__(self, slope):
        super().__init__()
        self.slope = tf.Variable(slope)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def predict(self, x):
        return {"y": self.slope * x + 2.0}


class _HalfPlusTwo(_Affine):
    """The same for tf.Examples with a feature x."""

    def __init__(self):
        super().__init__(0.5)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        return {"outputs": self._of_examples(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        return {"scores": self._of_examples(inputs)}

    def _of_examples(self, inputs):
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        return self.slope * parsed["x"] + 2.0


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
def half_plus_two(tmp_path_factory):
    """Base path that holds version 00000123 of the model of the contract's cases. Not to be written to."""
    base = tmp_path_factory.mktemp("half_plus_two")
    module = _HalfPlusTwo()
    signatures = {
        "serving_default": module.predict,
        "regress_x_to_y": module.regress,
        "classify_x_to_y": module.classify,
    }
    tf.saved_model.save(module, str(base / "00000123"), signatures=signatures)
    return str(base)


@pytest.fixture(scope="session")
def typed_model(tmp_path_factory):
    """SavedModel folder with string, int64 and float inputs and several signatures. Not to be written to."""
    path = str(tmp_path_factory.mktemp("typed") / "1")
    module = _Typed()
    signatures = {"serving_default": module.look_up, "multiply": module.multiply, "ragged": module.ragged}
    tf.saved_model.save(module, path, signatures=signatures)
    return path
