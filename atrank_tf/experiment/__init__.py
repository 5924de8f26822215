"""The experiment file: which model, with which choices. Nothing here needs TensorFlow, whose import takes seconds."""

from atrank_tf.experiment.batching import Batching
from atrank_tf.experiment.model_configs import (
    MODEL_CONFIGS,
    ATRankConfig,
    AveragePoolingConfig,
    BiLSTMConfig,
    BPRMFConfig,
    CNNConfig,
    DINConfig,
    RankerConfig,
    SASRecConfig,
    TimelineATRankConfig,
)

__all__ = [
    "MODEL_CONFIGS",
    "ATRankConfig",
    "AveragePoolingConfig",
    "BPRMFConfig",
    "Batching",
    "BiLSTMConfig",
    "CNNConfig",
    "DINConfig",
    "RankerConfig",
    "SASRecConfig",
    "TimelineATRankConfig",
]
