"""The attentions take the same arguments by the same names in the same order; self-attention a dropout, too."""

import inspect

import pytest

from atrank_tf.layers import SelfAttention, SpaceAttention, TargetAttention

OPTIONS = {
    "num_spaces": 2,
    "intermediate_dim": 13,
    "score": "scaled_dot",
    "activation": "relu",
}


def _arguments(layer: type) -> dict[str, object]:
    parameters = inspect.signature(layer).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD}


def test_a_block_takes_what_its_attention_takes_and_the_units_of_its_feed_forward() -> None:
    block = _arguments(TargetAttention)
    assert list(block) == list(OPTIONS)
    assert block.pop("intermediate_dim") is inspect.Parameter.empty
    attention = _arguments(SpaceAttention)
    del attention["starts_alike"], attention["value_initializer"]  # Which a block decides.
    assert list(block.items()) == list(attention.items())


@pytest.mark.parametrize("layer", [SelfAttention, TargetAttention])
def test_one_set_of_options_makes_every_block_and_reaches_what_is_in_it(
    layer: type[SelfAttention] | type[TargetAttention],
) -> None:
    block = layer(**OPTIONS, name="block")
    block.build(*[(None, None, 22)] * (1 if layer is SelfAttention else 2))
    assert block.get_config().items() >= OPTIONS.items()
    inside = {name: value for name, value in OPTIONS.items() if name != "intermediate_dim"}
    assert block.attention.get_config().items() >= inside.items()
    assert block.attention.starts_alike == (layer is TargetAttention)
    assert block.feed_forward.get_config()["intermediate_dim"] == 13


def test_the_dropout_of_self_attention_is_that_of_both_sublayers_and_in_its_config() -> None:
    block = SelfAttention.from_config(SelfAttention(**OPTIONS, dropout=0.25).get_config())
    block.build((None, None, 22))
    assert block.dropout == block.drop.rate == block.feed_forward.drop.rate == 0.25
    assert SelfAttention(**OPTIONS).dropout == 0.0
