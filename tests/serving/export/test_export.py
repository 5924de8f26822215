"""What an export refuses before it writes anything."""

from pathlib import Path

import keras
import pytest

from atrank_tf.data import RawValues, Records
from atrank_tf.models import BPRMF
from atrank_tf.serving import export_savedmodel


def test_a_model_that_computes_in_half_precision(records: Records, tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = BPRMF(records.schema, {"width": 4}, records.catalogs)
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match=r"Expected a model that computes in float32.* Received: bfloat16\."):
        export_savedmodel(model, RawValues.of(records), str(tmp_path / "export"))
    assert not list(tmp_path.iterdir())
