"""For the tests of what is read batch by batch."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def several_chunks() -> Iterator[None]:
    """The users are read in four chunks, not in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atrank_tf.data.chunk_reading.USERS_PER_CHUNK", 16)
        yield
