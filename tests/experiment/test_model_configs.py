"""Configs of models: every model has one here, and impossible choices are refused."""

from typing import Any

import pytest

from atrank_tf.experiment import (
    MODEL_CONFIGS,
    ATRankConfig,
    BiLSTMConfig,
    CNNConfig,
    DINConfig,
    RankerConfig,
    SASRecConfig,
    TimelineATRankConfig,
)
from atrank_tf.models import MODELS


def test_the_config_of_a_name_is_that_of_the_model_of_this_name() -> None:
    assert {name: model.Config for name, model in MODELS.items()} == MODEL_CONFIGS


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_dim": 0}, "hidden_dim must be positive. Received: hidden_dim=0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1. Received: dropout=1.0"),
        ({"id_dropout": -0.1}, "id_dropout must be at least 0 and below 1. Received: id_dropout=-0.1"),
        ({"ranking": ()}, "Expected at least one ranking head"),
        (
            {"tasks": ("next_purchase",) * 2},
            "Expected each task once. Received: tasks=\\['next_purchase', 'next_purchase'\\]",
        ),
        ({"ranking": ("dot", "dot")}, "Expected each ranking head once. Received: ranking=\\['dot', 'dot'\\]"),
        ({"ranking": ("repeat",)}, 'no ranking head "repeat" any more: it is part of affinity = true now'),
        ({"ranking": ("dot", "popularity")}, 'no ranking head "popularity" any more: it is popularity = true in'),
        ({"ranking": ("dnm",)}, "Unknown ranking head 'dnm' in \\[model\\]. Did you mean \"dnn\""),
        ({"combine": "summ"}, "Unknown combine 'summ' in \\[model\\]. Did you mean \"sum\""),
        ({"activation": "rellu"}, "Unknown activation 'rellu' in \\[model\\]. Did you mean \"relu\""),
        ({"hidden_units": (4, 0)}, "hidden_units must be positive. Received: hidden_units=\\[4, 0\\]"),
    ],
)
def test_impossible_choices_of_every_ranker_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RankerConfig(**config)


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
def test_impossible_choices_of_atrank_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ATRankConfig(**config)


def test_a_window_is_not_negative() -> None:
    with pytest.raises(ValueError, match=r"window must not be negative\. Received: window=-1 in \[model\]\."):
        TimelineATRankConfig(window=-1)


@pytest.mark.parametrize("windows", [0, 5])
def test_windows_that_do_not_divide_the_width_are_refused(windows: int) -> None:
    with pytest.raises(
        ValueError, match=rf"windows must .* divide hidden_dim. Received: windows={windows}, hidden_dim=12"
    ):
        CNNConfig(hidden_dim=12, windows=windows)


def test_an_odd_width_of_two_directions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hidden_dim must be even.*Received: hidden_dim=7 in \[model\]"):
        BiLSTMConfig(hidden_dim=7)


@pytest.mark.parametrize("unit", [(), (4, 0)])
def test_impossible_units_of_din_are_refused(unit: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"attention_units must be positive\. Received: attention_units=\[.*\] in \[model\]"
    ):
        DINConfig(attention_units=unit)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_heads": 0}, r"num_heads must be positive and divide hidden_dim\. Received: num_heads=0, hidden_dim=128"),
        ({"num_heads": 3}, r"num_heads must be positive and divide hidden_dim\. Received: num_heads=3, hidden_dim=128"),
        ({"num_blocks": 0}, r"num_blocks must be positive\. Received: num_blocks=0"),
        ({"intermediate_dim": 0}, r"intermediate_dim must be positive\. Received: intermediate_dim=0"),
    ],
)
def test_impossible_choices_of_sasrec_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SASRecConfig(**config)
