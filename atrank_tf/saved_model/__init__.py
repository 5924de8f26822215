"""Export of a trained model as a SavedModel that takes raw ids and runs in TensorFlow Serving."""

from atrank_tf.saved_model.export import export_model
from atrank_tf.saved_model.lint import lint
from atrank_tf.saved_model.preprocessor import Preprocessor, request_signature
from atrank_tf.saved_model.publish import publish

__all__ = ["Preprocessor", "export_model", "lint", "publish", "request_signature"]
