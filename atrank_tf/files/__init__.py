"""Files and folders that are written whole or not at all, and checksums that tell when they have changed."""

from atrank_tf.files.arrays import load_arrays, save_arrays
from atrank_tf.files.checksums import arrays_checksum, file_checksum, json_types, load_json, write_json
from atrank_tf.files.texts import text_array
from atrank_tf.files.whole import whole_file, whole_folder, write_text

__all__ = [
    "arrays_checksum",
    "file_checksum",
    "json_types",
    "load_arrays",
    "load_json",
    "save_arrays",
    "text_array",
    "whole_file",
    "whole_folder",
    "write_json",
    "write_text",
]
