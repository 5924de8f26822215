"""Training of an experiment: its file, `train`, the model folder, resuming, warm start, several workers."""

from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.callbacks import Backup, BestCheckpoint
from atrank_tf.training.environment import environment
from atrank_tf.training.epoch_choice import EpochChoice
from atrank_tf.training.experiment import (
    Experiment,
    Training,
    dump_experiment,
    experiment_from_dict,
    experiment_to_dict,
    load_experiment,
)
from atrank_tf.training.fit import train
from atrank_tf.training.model_folder import (
    MODEL_FILE,
    VALUES_FILE,
    load,
    load_model_for,
    load_trained_experiment,
    load_training,
    model_checksum,
    warn_if_unfinished,
    write_metrics,
)
from atrank_tf.training.new_model import compile_model, divide_threads
from atrank_tf.training.workers import Workers

__all__ = [
    "MODEL_FILE",
    "VALUES_FILE",
    "AverageWeights",
    "Backup",
    "BestCheckpoint",
    "EpochChoice",
    "Experiment",
    "Training",
    "Workers",
    "compile_model",
    "divide_threads",
    "dump_experiment",
    "environment",
    "experiment_from_dict",
    "experiment_to_dict",
    "load",
    "load_experiment",
    "load_model_for",
    "load_trained_experiment",
    "load_training",
    "model_checksum",
    "train",
    "warn_if_unfinished",
    "write_metrics",
]
