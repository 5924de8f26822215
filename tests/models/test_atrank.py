"""ATRank's own choices."""

from typing import Any


def test_blocks_make_layers(make_model: Any) -> None:
    names = {layer.name for layer in make_model(num_blocks=2).layers}
    assert {"self_attention_0", "self_attention_1", "target_attention"} <= names
    assert "self_attention_2" not in names
