"""Which of the version folders under a base path are served: TensorFlow Serving's three policies."""

import dataclasses
from collections.abc import Sequence

from atrank_tf.server.versions import Version


@dataclasses.dataclass(frozen=True)
class Latest:
    """The largest version numbers.

    Attributes:
      num_versions: int. How many of them; as in TensorFlow Serving 0 is 1.
    """

    num_versions: int = 1

    def choose(self, present: Sequence[Version]) -> list[Version]:
        """What to serve of the versions that are there; both lists are in ascending order."""
        return list(present[-max(self.num_versions, 1) :])


@dataclasses.dataclass(frozen=True)
class All:
    """Every version that is there."""

    def choose(self, present: Sequence[Version]) -> list[Version]:
        """What to serve of the versions that are there; both lists are in ascending order."""
        return list(present)


@dataclasses.dataclass(frozen=True)
class Specific:
    """Named versions, whatever newer ones there are.

    Attributes:
      versions: version numbers.
    """

    versions: frozenset[int]

    def choose(self, present: Sequence[Version]) -> list[Version]:
        """What to serve of the versions that are there; both lists are in ascending order."""
        return [version for version in present if version.number in self.versions]


VersionPolicy = Latest | All | Specific

NEWEST = Latest()
