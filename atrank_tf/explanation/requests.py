"""Choice of requests to explain: those of given users, of users with rich histories, or a sample."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from atrank_tf.data import Part, Records, count_targets, requests
from atrank_tf.experiment import Batching
from atrank_tf.schema.inputs import history_name

_ONE_EACH = Batching(evaluation_targets_per_user=1)
_LOOKED_AT = 10_000
"""Requests of a task that are searched for users if none are named."""


class Request(NamedTuple):
    """One request of one user: the inputs of the model, a batch of one, and `labels`, float32 [1, N]."""

    task: str
    user: str
    inputs: dict[str, np.ndarray]
    labels: np.ndarray


def requests_of_users(
    records: Records, part: Part | str, tasks: Sequence[str], users: Sequence[str], most: int
) -> list[Request]:
    """Returns one request of each task for each of some users, that of an evaluation with one target per user.

    Args:
        records: the records of the model.
        part: the part of the data.
        tasks: tasks of the model.
        users: ids; empty for `most` users, those first whose history holds the most groups, then those of the most
            tasks, among the first 10,000 requests of each task.
        most: how many users are taken where none are named.

    Returns:
        Requests by user in the order of `users`, then by task.

    Raises:
        ValueError: a user has no request in this part.
    """
    found: dict[str, list[Request]] = {user: [] for user in users}
    for task in tasks:
        for request in islice(_stream(records, part, task), None if users else _LOOKED_AT):
            if not users or request.user in found:
                found.setdefault(request.user, []).append(request)
    for user, requests_of_one in found.items():
        if not requests_of_one:
            raise ValueError(
                f"Expected a request of {' or '.join(tasks)} in {Part(part)} for each user. Found none of {user!r}: "
                "name another part (validation or test) or another user."
            )
    chosen = users or sorted(found, key=lambda user: _richness(records, found[user]), reverse=True)[:most]
    return [request for user in dict.fromkeys(chosen) for request in found[user]]


def sampled_requests(records: Records, part: Part | str, task: str, most: int) -> Iterator[Request]:
    """Yields up to `most` requests of a task, each of another user, drawn evenly and always the same ones."""
    total = count_targets(records, task, part, _ONE_EACH)
    chosen = set(np.random.default_rng(0).permutation(total)[:most].tolist())
    for place, request in enumerate(_stream(records, part, task)):
        if place in chosen:
            yield request


def _stream(records: Records, part: Part | str, task: str) -> Iterator[Request]:
    for inputs, labels, _, users in requests(records, part, tasks=[task], settings=_ONE_EACH):
        batch, chosen = {name: value.numpy() for name, value in inputs.items()}, labels[task].numpy()
        for row, user in enumerate(users.numpy()):
            one = {name: value[row : row + 1] for name, value in batch.items()}
            yield Request(task, user.decode("utf-8", "replace"), one, chosen[row : row + 1])


def _richness(records: Records, of_one: Sequence[Request]) -> tuple[int, int]:
    """Returns the number of groups in a user's history, and the number of tasks."""
    ids = [history_name(group, "id") for group in records.schema.groups]
    return max(sum(bool(request.inputs[name].any()) for name in ids) for request in of_one), len(of_one)
