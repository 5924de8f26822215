"""The experiment file: which model, fed how, trained how. Nothing here needs TensorFlow, whose import takes seconds."""

from atrank_tf.experiment.batching import Batching
from atrank_tf.experiment.experiment import (
    Experiment,
    dump_experiment,
    experiment_from_dict,
    experiment_to_dict,
    load_experiment,
)
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
from atrank_tf.experiment.settings_check import check_settings, check_task_weights, schema_that_is_read
from atrank_tf.experiment.training import Training

__all__ = [
    "MODEL_CONFIGS",
    "ATRankConfig",
    "AveragePoolingConfig",
    "BPRMFConfig",
    "Batching",
    "BiLSTMConfig",
    "CNNConfig",
    "DINConfig",
    "Experiment",
    "RankerConfig",
    "SASRecConfig",
    "TimelineATRankConfig",
    "Training",
    "check_settings",
    "check_task_weights",
    "dump_experiment",
    "experiment_from_dict",
    "experiment_to_dict",
    "load_experiment",
    "schema_that_is_read",
]
