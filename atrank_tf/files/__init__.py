"""Files and folders that are written whole or not at all, and checksums that tell when they have changed."""

from atrank_tf.files.arrays import load_arrays, save_arrays
from atrank_tf.files.checked_json import json_types, load_json, write_json
from atrank_tf.files.checksums import arrays_checksum, file_checksum
from atrank_tf.files.whole_file import whole_file, write_text
from atrank_tf.files.whole_folder import whole_folder

__all__ = [
    "arrays_checksum",
    "file_checksum",
    "json_types",
    "load_arrays",
    "load_json",
    "save_arrays",
    "whole_file",
    "whole_folder",
    "write_json",
    "write_text",
]
