"""Reads logs of any file and column names, and writes the schema and the experiment that fit them."""

from atrank_tf.description.describe import Description, describe, write_description

__all__ = ["Description", "describe", "write_description"]
