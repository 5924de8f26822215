"""What stands between the read-out and the ranking networks of each task."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from atrank_tf.layers import ExpertGate, Experts
from atrank_tf.models.ranker_config import RankerConfig


class TaskExperts:
    """Experts as a config asks for them: none, shared ones (MMoE), or shared ones and the task's own (PLE).

    Args:
        config: the model's config.
        tasks: the model's tasks.
    """

    def __init__(self, config: RankerConfig, tasks: Sequence[str]) -> None:
        number = config.num_experts
        chosen = tasks if config.experts != "none" else ()
        self._shared = Experts(number, name="experts") if chosen else None
        self._gates = {task: ExpertGate(name=f"expert_gate_{task}") for task in chosen}
        own = chosen if config.experts == "ple" else ()
        self._own = {task: Experts(number, name=f"experts_{task}") for task in own}

    def mixed(self, task: str, read: Any) -> Any:
        """Returns what a task makes of a read-out, float [B, N, D]; zeros stay zeros."""
        if self._shared is None:
            return read
        experts = self._shared(read)
        if task in self._own:
            experts = ops.concatenate([experts, self._own[task](read)], axis=-2)
        return self._gates[task](read, experts)
