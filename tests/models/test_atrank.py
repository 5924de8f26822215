"""ATRank's own choices."""

from typing import Any

import pytest

from atrank_tf.models import ATRankConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"spaces": 0}, "spaces must be positive. Received: spaces=0"),
        ({"feed_forward": -1}, "feed_forward must be positive"),
        ({"blocks": -1}, "blocks must not be negative"),
        ({"width": 10, "spaces": 3}, "spaces must divide width. Received: spaces=3, width=10"),
        ({"score": "bilinar"}, "Unknown score 'bilinar' in \\[model\\]. Did you mean \"bilinear\""),
        ({"attention_activation": "x"}, "Unknown attention_activation 'x'"),
    ],
)
def test_impossible_choices_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ATRankConfig(**config)


def test_blocks_make_layers(make_model: Any) -> None:
    names = {layer.name for layer in make_model(blocks=2).layers}
    assert {"self_attention_0", "self_attention_1", "target_attention"} <= names
    assert "self_attention_2" not in names
