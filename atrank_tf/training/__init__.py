"""Training of an experiment: `train`, the model folder, resuming, warm start, several workers."""

from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.callbacks import Backup, BestCheckpoint
from atrank_tf.training.environment import environment
from atrank_tf.training.epoch_choice import EpochChoice
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
from atrank_tf.training.new_model import compile_model, divide_threads, trained_part
from atrank_tf.training.workers import Workers

__all__ = [
    "MODEL_FILE",
    "VALUES_FILE",
    "AverageWeights",
    "Backup",
    "BestCheckpoint",
    "EpochChoice",
    "Workers",
    "compile_model",
    "divide_threads",
    "environment",
    "load",
    "load_model_for",
    "load_trained_experiment",
    "load_training",
    "model_checksum",
    "train",
    "trained_part",
    "warn_if_unfinished",
    "write_metrics",
]
