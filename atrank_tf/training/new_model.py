"""An experiment -> its model before the first step of training."""

import tensorflow as tf

from atrank_tf.data import Records, popularity, positive_counts
from atrank_tf.models import MODELS, Ranker
from atrank_tf.schema import Candidates
from atrank_tf.training.experiment import Experiment
from atrank_tf.training.shared_batches import training_part
from atrank_tf.training.workers import Workers


def new_model(records: Records, share: Records, experiment: Experiment, workers: Workers) -> Ranker:
    """Returns the experiment's model with fresh weights, and what it knows of how often each object was chosen.

    Args:
        records: all records, of the groups that the experiment reads.
        share: this worker's files of them.
        experiment: what is trained.
        workers: who train together, each calling this function: their counts are added up.

    Raises:
        ValueError: the loss is of pairs, and no request of a task has two candidates.
    """
    settings = experiment.training
    model = MODELS[experiment.name](
        records.schema, catalogs=records.catalogs, name=experiment.name, **vars(experiment.model)
    )
    for task in model.tasks:
        if settings.loss == "pairwise":
            _check_pairs(records, task)
        if settings.start_at_popularity and records.schema.tasks[task].candidates is Candidates.SAMPLED:
            (counts,) = workers.sum([tf.constant(positive_counts(share, task, training_part(experiment)))])
            model.start_at_popularity(task, counts.numpy())
        if "popularity" in experiment.model.ranking:
            model.load_popularity(task, popularity(share, task, training_part(experiment), workers.total))
    return model


def _check_pairs(records: Records, task: str) -> None:
    shown = records.manifest["requests"].get(task)
    if shown and shown["candidates"] == shown["requests"]:
        raise ValueError(
            f'Expected requests with several candidates in impressions/{task} for loss = "pairwise" in [training], '
            f"which compares the candidates of a request. Found {shown['requests']:,} requests, each with one: "
            'use "pointwise", or give rows that were shown together the same request_id.'
        )
