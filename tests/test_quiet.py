"""Start-up notes are kept back, and shown when the start fails."""

import os
from typing import Any

import pytest

from atrank_tf.command import quiet_start


def test_what_is_written_meanwhile_is_kept_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_start():
        os.write(2, b"a note from C++\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_it_is_shown_when_the_start_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def start() -> Any:
        with quiet_start():
            os.write(2, b"the reason\n")
            raise ImportError("no library")

    with pytest.raises(ImportError, match="no library"):
        start()
    assert capfd.readouterr().err == "the reason\n"
