"""Makes records of logs."""

from atrank_tf.preparation.prepare import are_current, prepare, summary

__all__ = ["are_current", "prepare", "summary"]
