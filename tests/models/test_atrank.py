"""ATRank's own choices."""

from typing import Any

import pytest

from atrank_tf.models import ATRankConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_spaces": 0}, "num_spaces must be positive. Received: num_spaces=0"),
        ({"intermediate_dim": -1}, "intermediate_dim must be positive"),
        ({"num_blocks": -1}, "num_blocks must not be negative"),
        (
            {"hidden_dim": 10, "num_spaces": 3},
            "num_spaces must divide hidden_dim. Received: num_spaces=3, hidden_dim=10",
        ),
        ({"score": "bilinar"}, "Unknown score 'bilinar' in \\[model\\]. Did you mean \"bilinear\""),
        ({"attention_activation": "x"}, "Unknown attention_activation 'x'"),
    ],
)
def test_impossible_choices_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ATRankConfig(**config)


def test_blocks_make_layers(make_model: Any) -> None:
    names = {layer.name for layer in make_model(num_blocks=2).layers}
    assert {"self_attention_0", "self_attention_1", "target_attention"} <= names
    assert "self_attention_2" not in names
