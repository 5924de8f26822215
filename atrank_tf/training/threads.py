"""A core for each slice of a batch."""

import os

import tensorflow as tf


def divide_threads(slices: int) -> None:
    """Divides the cores among the slices of a batch: each operation has the threads of its slice alone.

    With one slice TensorFlow's own division stays, where every operation has the threads of all cores.

    Args:
        slices: as in `Training`.

    Raises:
        RuntimeError: TensorFlow has set up its devices already.
    """
    if slices > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // slices))
        tf.config.threading.set_inter_op_parallelism_threads(cores)
