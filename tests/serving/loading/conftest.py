import pytest
from fake_versions import FakeModel

from atrank_tf.serving.loading.served_model import ServedModel


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(FakeModel, "broken", {})
    return []


@pytest.fixture
def served(tmp_path, loaded):
    def load(path):
        loaded.append(FakeModel(path))
        return loaded[-1]

    clock = iter(range(0, 10**6, 30))  # 30 s pass with each look at it
    model = ServedModel("m", str(tmp_path), load=load, max_retries=2, clock=lambda: next(clock))
    yield model
    model.close()
