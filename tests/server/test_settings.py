import json
import os

import pytest

from atrank_tf.server.settings import ServerSettings

_POSITIVE = ["num_threads", "timeout_ms", "max_body_bytes", "max_candidates", "max_memory_reads", "max_output_values"]
_POSITIVE += ["max_lists", "max_values", "max_work_bytes", "max_bytes_in_flight", "max_connections"]
_POSITIVE += ["keepalive_seconds", "drain_seconds"]


@pytest.mark.parametrize("name", _POSITIVE)
def test_numbers_that_must_be_positive(name):
    with pytest.raises(ValueError, match=f"^{name} must be positive. Received: {name}=0.$"):
        ServerSettings(**{name: 0})


@pytest.mark.parametrize("name", ["poll_seconds", "config_poll_seconds"])
def test_numbers_that_must_not_be_negative(name):
    assert getattr(ServerSettings(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=f"^{name} must not be negative. Received: {name}=-1.$"):
        ServerSettings(**{name: -1})


def test_defaults_are_tensorflow_servings_but_for_the_address():
    settings = ServerSettings()
    assert settings.host == "127.0.0.1"
    assert (settings.timeout_ms, settings.poll_seconds, settings.config_poll_seconds) == (30_000, 1.0, 0.0)
    assert settings.num_threads == 4 * os.cpu_count()
    assert settings.metrics_path is None
    assert not settings.cors


@pytest.mark.parametrize(("files", "most"), [((256, 4096), 128), ((100_000, 100_000), 1000), ((-1, -1), 1000)])
def test_connections_are_half_of_the_files_that_may_be_open(monkeypatch, files, most):
    monkeypatch.setattr("resource.getrlimit", lambda which: files)
    assert ServerSettings().max_connections == most


def test_a_body_may_have_all_candidates_with_their_context_and_not_much_more():
    settings = ServerSettings()
    columns = {"id": "p" * 20, "price": 1234.56, "position": 100_000.0, "channel": "mail"}
    history = {"id": ["p" * 20] * 5000, "action": ["regular"] * 5000, "timestamp": [1_700_000_000] * 5000}
    inputs = {name: [[value] * settings.max_candidates] for name, value in columns.items()}
    length = len(json.dumps({"inputs": {"now": [1_700_000_000], **history, **inputs}}))
    assert length < settings.max_body_bytes < 2 * length
