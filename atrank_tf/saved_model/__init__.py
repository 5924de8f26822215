"""Export of a trained model as a SavedModel that takes raw ids and runs in TensorFlow Serving."""

from atrank_tf.saved_model.export import export_model
from atrank_tf.saved_model.lint import lint
from atrank_tf.saved_model.raw_inputs import request_signature

__all__ = ["export_model", "lint", "request_signature"]
