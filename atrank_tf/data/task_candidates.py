"""Makes the candidates of a task, chunk by chunk: draws negatives, and computes what goes with each candidate."""

from collections.abc import Mapping
from typing import NamedTuple

from atrank_tf.data.affinity import records_affinity
from atrank_tf.data.candidates import NegativeSampler, has_log_rates, training_log_rates, training_negatives
from atrank_tf.data.excluded import Excluded
from atrank_tf.data.own_history import OwnHistory, own_objects
from atrank_tf.data.records import Records
from atrank_tf.data.targets import CandidateFunction, Chunk, Targets
from atrank_tf.experiment import Batching
from atrank_tf.schema import Candidates
from atrank_tf.schema.inputs import affinity_name, log_rate_name
from atrank_tf.types import Tensor


class ChunkCandidates(NamedTuple):
    """What makes the candidates of a chunk's targets.

    `computed`: name of an input -> what computes it of targets and their candidates. `sampler`, `own`: of negatives;
    None where the candidates are impressions.
    """

    computed: Mapping[str, CandidateFunction]
    sampler: NegativeSampler | None
    own: tuple[Excluded, OwnHistory | None] | None

    def draw(self, targets: Targets, seed: Tensor, pool: int = 0) -> Tensor | None:
        """Returns negatives of M targets, rows of the catalog, int64 [M, n]: see `NegativeSampler.draw`."""
        if self.sampler is None or self.own is None:
            return None
        return self.sampler.draw(*self.own, targets, seed, pool)


class TaskCandidates:
    """Makes the candidates of a task.

    Args:
        records: the records.
        task: the task.
        settings: those of the batches.
        trains: whether the batches are of training, which may draw another number of negatives than the schema says.
    """

    def __init__(self, records: Records, task: str, settings: Batching, *, trains: bool) -> None:
        self._records, self._task, self._settings = records, task, settings
        spec = records.schema.tasks[task]
        self._affinity = records_affinity(records, task)
        self._has_rates = trains and has_log_rates(spec, settings)
        self._negatives, self._sampler = spec.negatives, None
        if spec.candidates is Candidates.SAMPLED:
            self._negatives = training_negatives(spec.negatives, settings) if trains else spec.negatives
            self._sampler = NegativeSampler(records.catalogs[records.schema.entity_of(task)], self._negatives)

    def of_chunk(self, chunk: Chunk, serialized: Tensor) -> ChunkCandidates:
        """Prepares a chunk; `serialized`: string [U], the Examples that it is of."""
        computed: dict[str, CandidateFunction] = {}
        if self._affinity:
            computed[affinity_name(self._task)] = self._affinity.of_chunk(chunk)
        if self._sampler is None:
            return ChunkCandidates(computed, None, None)
        own = own_objects(self._records, self._task, self._negatives, chunk, serialized)
        if self._has_rates:
            spec = self._records.schema.tasks[self._task]
            computed[log_rate_name(self._task)] = training_log_rates(spec, self._settings, self._sampler, *own)
        return ChunkCandidates(computed, self._sampler, own)
