"""For the tests of what is read batch by batch."""

from collections.abc import Iterator

import pytest

from atrank_tf.data import Records


@pytest.fixture(scope="module")
def several_chunks() -> Iterator[None]:
    """The users are read in four chunks, not in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atrank_tf.data.chunk_reading.USERS_PER_CHUNK", 16)
        patch.setattr("atrank_tf.data.timeline_batching.BATCHES_PER_CHUNK", 0)
        yield


@pytest.fixture(scope="session")
def plain(records: Records) -> Records:
    """`records` without affinity, which is two fifths of what is traced for a batch."""
    return records.select([], affinity=False)
