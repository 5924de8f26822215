"""Sparse Adam, Muon and Adagrad with deferred decay, for any Keras model on TensorFlow."""

from atrank_tf.optimizers.apply_pending_decay import ApplyPendingDecay, apply_pending
from atrank_tf.optimizers.sparse_adagrad import SparseAdagrad
from atrank_tf.optimizers.sparse_adam import SparseAdam
from atrank_tf.optimizers.sparse_muon import SparseMuon
from atrank_tf.optimizers.warm_up import WarmUp

__all__ = ["ApplyPendingDecay", "SparseAdagrad", "SparseAdam", "SparseMuon", "WarmUp", "apply_pending"]
