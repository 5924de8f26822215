"""Scored requests of one task over a whole split: users, scores, labels and mask."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredRequests:
    """Scores and labels of R requests with up to N candidates each.

    Attributes:
        users: str, bytes or int `[R]` (or an object array of these). Who asked; a user may have several requests.
        scores: float `[R, N]`. Logits: any finite value, higher means more likely.
        labels: bool, int or float `[R, N]`. 1 for a positive, 0 for a negative.
        mask: bool `[R, N]`. True for a real candidate. Where it is False, scores and labels may hold anything.

    Raises:
        ValueError: for shapes or dtypes other than these, and for scores that are not finite or labels other than 0 and
            1 at a real candidate; says how many and where the first one is.
    """

    users: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, np.asarray(getattr(self, field.name)))
        self._check_shapes()
        self._check_dtypes()
        self._check_values()

    @classmethod
    def concatenate(cls, parts: Sequence["ScoredRequests"]) -> "ScoredRequests":
        """Joins parts in order, each padded on the right to the largest N.

        Args:
            parts: the batches of one split, in the order of their requests. Their N may differ.

        Raises:
            ValueError: if `parts` is empty, or if the users of one part are, say, integers and of another strings.
        """
        if not parts:
            raise ValueError("parts must hold at least one ScoredRequests. Received: an empty sequence.")
        # The users of a part without requests may have any dtype, and must not change that of the others.
        users = {index: part.users for index, part in enumerate(parts) if part.users.size} or {0: parts[0].users}
        first = {users[index].dtype.kind: index for index in reversed(users)}
        if len(first) > 1:
            # NumPy would turn 1 into "1" and uint64 beside int64 into float64: users would be split or merged.
            found = ", ".join(f"{users[index].dtype} in part {index}" for index in sorted(first.values()))
            raise ValueError(f"users must have one kind of dtype in all parts. Received: {found}.")
        width = max(part.scores.shape[1] for part in parts)
        wide = [part.padded_to(width) for part in parts]
        return cls(
            users=np.concatenate(list(users.values())),
            scores=np.concatenate([part.scores for part in wide]),
            labels=np.concatenate([part.labels for part in wide]),
            mask=np.concatenate([part.mask for part in wide]),
        )

    def in_order(self) -> "ScoredRequests":
        """Returns the same requests in an order that does not depend on batching: by user, then by mask and labels."""
        real = self.mask.astype(np.int8)
        columns = np.concatenate([real, real * (self.labels > 0)], axis=1)
        users = np.unique(self.users, return_inverse=True)[1]
        order = np.lexsort((*columns.T[::-1], users))
        return ScoredRequests(*(getattr(self, field.name)[order] for field in dataclasses.fields(self)))

    def padded_to(self, width: int) -> "ScoredRequests":
        """Returns the same requests, padded on the right to `width` candidates.

        Raises:
            ValueError: if `width` is below N.
        """
        extra = width - self.scores.shape[1]
        if extra < 0:
            raise ValueError(f"width must be at least N={self.scores.shape[1]}. Received: width={width}.")
        if not extra:
            return self
        wide = {name: np.pad(getattr(self, name), ((0, 0), (0, extra))) for name in ("scores", "labels", "mask")}
        return dataclasses.replace(self, **wide)

    def _check_shapes(self) -> None:
        if self.users.ndim != 1:
            raise ValueError(f"users must have the shape [R]. Received: users.shape={self.users.shape}.")
        if self.scores.ndim != 2:
            raise ValueError(f"scores must have the shape [R, N]. Received: scores.shape={self.scores.shape}.")
        for name in ("labels", "mask"):
            shape = getattr(self, name).shape
            if shape != self.scores.shape:
                raise ValueError(
                    f"{name} must have the shape of scores. "
                    f"Received: {name}.shape={shape}, scores.shape={self.scores.shape}."
                )
        if len(self.users) != len(self.scores):
            raise ValueError(
                "users must hold one entry per request. "
                f"Received: {len(self.users)} users, scores.shape={self.scores.shape}."
            )

    def _check_dtypes(self) -> None:
        allowed = {"users": "OSTUiu", "scores": "f", "labels": "biuf", "mask": "b"}
        wanted = {
            "users": "strings, bytes or integers",
            "scores": "floats",
            "labels": "booleans, integers or floats",
            "mask": "booleans (True = real candidate)",
        }
        for name, kinds in allowed.items():
            dtype = getattr(self, name).dtype
            # NumPy makes an empty list float64, whatever it would have held.
            if dtype.kind not in kinds and not (name == "users" and not self.users.size):
                raise ValueError(f"{name} must hold {wanted[name]}. Received: {name}.dtype={dtype}.")
        if self.users.dtype.kind == "O":
            for request, user in enumerate(self.users.tolist()):
                if not isinstance(user, str | bytes | int | np.integer):
                    raise ValueError(
                        f"users must hold {wanted['users']}. "
                        f"Received: {user!r} of type {type(user).__name__} at request {request}."
                    )

    def _check_values(self) -> None:
        bad = self.mask & ~np.isfinite(self.scores)
        if bad.any():
            missing = int(np.isnan(self.scores[bad]).sum())
            raise ValueError(
                "scores must be finite at real candidates. "
                f"Received: {missing} NaN and {int(bad.sum()) - missing} infinite among {int(self.mask.sum())} scores, "
                f"the first is {self._first(self.scores, bad)}."
            )
        bad = self.mask & (self.labels != 0) & (self.labels != 1)
        if bad.any():
            raise ValueError(
                "labels must be 0 or 1 at real candidates. "
                f"Received: {int(bad.sum())} others, the first is {self._first(self.labels, bad)}."
            )

    def _first(self, values: NDArray[Any], where: NDArray[np.bool_]) -> str:
        request, candidate = (int(index) for index in np.unravel_index(int(where.argmax()), where.shape))
        user = self.users.tolist()[request]
        return f"{values[request, candidate]} at request {request} (user {user!r}), candidate {candidate}"
