"""Training: the experiment file, the loss, what is kept after each epoch, and `fit` itself."""

from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.callbacks import Backup, BestCheckpoint
from atrank_tf.training.compile_model import compile_model
from atrank_tf.training.environment import environment
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
    load_model,
    load_model_for,
    load_trained_experiment,
    load_training,
    model_checksum,
    warn_if_unfinished,
    write_metrics,
)
from atrank_tf.training.pairwise_crossentropy import PairwiseCrossentropy
from atrank_tf.training.pointwise_crossentropy import PointwiseCrossentropy
from atrank_tf.training.request_auc import RequestAUC, request_auc_by_task
from atrank_tf.training.settle_tables import SettleTables
from atrank_tf.training.shared_batches import training_part
from atrank_tf.training.sparse_adagrad import SparseAdagrad
from atrank_tf.training.sparse_adam import SparseAdam
from atrank_tf.training.threads import divide_threads
from atrank_tf.training.workers import Workers

__all__ = [
    "MODEL_FILE",
    "VALUES_FILE",
    "AverageWeights",
    "Backup",
    "BestCheckpoint",
    "Experiment",
    "PairwiseCrossentropy",
    "PointwiseCrossentropy",
    "RequestAUC",
    "SettleTables",
    "SparseAdagrad",
    "SparseAdam",
    "Training",
    "Workers",
    "compile_model",
    "divide_threads",
    "dump_experiment",
    "environment",
    "experiment_from_dict",
    "experiment_to_dict",
    "load_experiment",
    "load_model",
    "load_model_for",
    "load_trained_experiment",
    "load_training",
    "model_checksum",
    "request_auc_by_task",
    "train",
    "training_part",
    "warn_if_unfinished",
    "write_metrics",
]
