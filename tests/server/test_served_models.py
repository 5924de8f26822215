import functools
import threading

import pytest
from fake_models import PATIENCE_S

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.served_models import ServedModels
from atrank_tf.server.versions import All, versions


class FakeModel:
    def __init__(self, path):
        self.path = path
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def base(tmp_path):
    """`base(name, *numbers)` makes a base path with these versions."""

    def make(name, *numbers):
        for number in numbers:
            (tmp_path / name / str(number)).mkdir(parents=True)
        return str(tmp_path / name)

    return make


def make(name, base_path, **config):
    return ServedModel(name, base_path, load=FakeModel, **config)


def served(models, name, **which):
    with models.lease(name, **which) as (_, model):
        return model.path.rsplit("/", 2)[1:]


def test_models_are_found_by_name(base):
    models = ServedModels(
        [ModelConfig("a", base("a", 1, 2)), ModelConfig("b", base("b", 3, 4), All(), {"stable": 3})], make
    )
    models.start()
    assert list(models.names) == ["a", "b"]
    assert served(models, "a") == ["a", "2"]
    assert served(models, "b") == ["b", "4"]
    assert served(models, "b", label="stable") == ["b", "3"]
    assert [status.version for status in models.statuses("b")] == [4, 3]
    assert models.statuses("c") == []
    models.close()
    with pytest.raises(ServingError, match=r"^Servable not found for request: Latest\(a\)$"):
        served(models, "a")


@pytest.mark.parametrize(
    ("which", "code", "message"),
    [
        ({}, Code.NOT_FOUND, r"^Servable not found for request: Latest\(c\)$"),
        ({"version": 7}, Code.NOT_FOUND, r"^Servable not found for request: Specific\(c, 7\)$"),
        ({"label": "x"}, Code.INVALID_ARGUMENT, "^Unrecognized servable version label: x$"),
    ],
)
def test_a_model_that_is_not_served(which, code, message):
    with pytest.raises(ServingError, match=message) as caught:
        served(ServedModels([]), "c", **which)
    assert caught.value.code is code


def test_configs_come_and_go(base, caplog):
    models = ServedModels([ModelConfig("a", base("a", 1)), ModelConfig("b", base("b", 1))], make)
    models.start()
    with models.lease("a") as (_, old):
        models.configure([ModelConfig("b", base("b2", 2)), ModelConfig("c", base("c"))])
        assert not old.closed
    assert old.closed
    assert list(models.names) == ["b", "c"]
    assert served(models, "b") == ["b2", "2"]
    assert "Model c: no version is served" in caplog.text
    with pytest.raises(ServingError, match=r"Latest\(c\)"):
        served(models, "c")
    base("c", 5)
    models.refresh()
    assert served(models, "c") == ["c", "5"]


def test_a_model_that_goes_while_a_version_of_it_is_loaded_leaves_none_behind(base):
    begun, let_go, made = threading.Event(), threading.Event(), []

    def load(path):
        begun.set()
        assert let_go.wait(PATIENCE_S)
        made.append(FakeModel(path))
        return made[-1]

    models = ServedModels([ModelConfig("a", base("a", 1))], functools.partial(ServedModel, load=load))
    models.refresh(wait=False)
    assert begun.wait(PATIENCE_S)
    models.configure([], wait=False)
    let_go.set()
    models.stop_looking()
    assert [model.closed for model in made] == [True]


def test_a_model_that_cannot_be_looked_at_does_not_keep_others_from_it(base, caplog, monkeypatch):
    def look(base_path):
        if base_path == base("a"):
            raise PermissionError("not now")
        return versions(base_path)

    configs = [ModelConfig("a", base("a", 1)), ModelConfig("b", base("b", 1))]
    models = ServedModels(configs, make)
    models.start()
    monkeypatch.setattr("atrank_tf.server.served_model.versions", look)
    base("b", 2)
    models.refresh()
    assert served(models, "b") == ["b", "2"]
    base("b", 3)
    models.configure(configs)
    assert served(models, "b") == ["b", "3"]
    assert caplog.text.count("Model a: looking for new versions failed: not now") == 2
