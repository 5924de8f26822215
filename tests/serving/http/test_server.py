"""What happens over time: versions and configs that change while a server runs, and its end."""

import importlib
import shutil
import sys
import threading

import numpy as np
import pytest

import atrank_tf.serving.http
from atrank_tf.serving import (
    ServedModel,
    ServedModels,
    ServerSettings,
    Signature,
    TensorInfo,
    make_app,
    publish,
    read_model_config,
)

_PATIENCE_S = 60


def test_the_newest_version_is_swapped_in_while_serving(start, wait_until, tmp_path, save_affine):
    publish(lambda path: save_affine(path, slope=1.0), str(tmp_path))
    server = start(ServedModel("m", str(tmp_path)))
    assert server.predict(10) == 12.0
    publish(lambda path: save_affine(path, slope=2.0), str(tmp_path))
    answers = set()
    wait_until(lambda: answers.add(server.predict(10)) or server.statuses()[0] == (2, "AVAILABLE", "OK"))
    assert server.predict(10) == 22.0
    assert answers <= {12.0, 22.0}
    wait_until(lambda: server.statuses() == [(2, "AVAILABLE", "OK"), (1, "END", "OK")])
    assert server.call("POST", "/v1/models/m/versions/1:predict", '{"instances": [1]}')[0] == 404


def test_a_version_that_fails_to_load_leaves_the_old_one_serving(start, wait_until, tmp_path, save_affine):
    save_affine(tmp_path / "1")
    server = start(ServedModel("m", str(tmp_path)))
    shutil.copytree(tmp_path / "1", tmp_path / "copy")
    (tmp_path / "copy" / "saved_model.pb").write_bytes(b"\xff")
    (tmp_path / "copy").rename(tmp_path / "2")
    wait_until(lambda: server.statuses()[0][:2] == (2, "END"))
    assert server.statuses() == [(2, "END", "NOT_FOUND"), (1, "AVAILABLE", "OK")]
    assert server.predict(2) == 3.0
    save_affine(tmp_path / "copy", slope=1.0)
    (tmp_path / "copy").rename(tmp_path / "3")
    wait_until(lambda: server.statuses()[0] == (3, "AVAILABLE", "OK"))
    assert server.predict(2) == 4.0


def test_polling_goes_on_when_a_look_fails(start, wait_until, tmp_path, save_affine):
    looks = []

    class Unlucky(ServedModel):
        def refresh(self):
            looks.append(len(looks))
            if len(looks) in (2, 3):
                raise PermissionError("not now")
            return super().refresh()

    save_affine(tmp_path / "1")
    server = start(Unlucky("m", str(tmp_path)))
    publish(lambda path: save_affine(path, slope=1.0), str(tmp_path))
    wait_until(lambda: server.statuses()[0] == (2, "AVAILABLE", "OK"))
    assert server.predict(2) == 4.0


class ModelConfigFile:
    """A file that is rewritten while a server runs."""

    def __init__(self, path):
        self.path = path

    def write(self, **models):
        configs = [
            f"config {{ name: '{name}' base_path: '{base}' model_platform: 'tensorflow' {more} }}"
            for name, (base, more) in models.items()
        ]
        self.path.write_text(f"model_config_list {{ {' '.join(configs)} }}")

    def read(self):
        return read_model_config(str(self.path))


@pytest.fixture
def config_file(tmp_path):
    return ModelConfigFile(tmp_path / "models.config")


def test_a_model_config_file_is_followed(start, wait_until, tmp_path, save_affine, config_file):
    for model, slopes in (("a", (1.0, 2.0)), ("b", (3.0,))):
        for number, slope in enumerate(slopes, start=1):
            save_affine(tmp_path / model / str(number), slope=slope)
    config_file.write(a=(tmp_path / "a", "model_version_policy { all {} } version_labels { key: 'stable' value: 1 }"))
    server = start(ServedModels(config_file.read()), read_config=config_file.read, config_poll_seconds=0.01)
    stable = ("POST", "/v1/models/a/labels/stable:predict", '{"instances": [1]}')
    assert server.call(*stable)[2] == b'{"predictions": [3.0]}'
    assert server.statuses("a") == [(2, "AVAILABLE", "OK"), (1, "AVAILABLE", "OK")]
    config_file.write(
        a=(tmp_path / "a", "model_version_policy { all {} } version_labels { key: 'stable' value: 2 }"),
        b=(tmp_path / "b", ""),
    )
    wait_until(lambda: server.call(*stable)[2] == b'{"predictions": [4.0]}')
    wait_until(lambda: server.call("GET", "/v1/models/b")[0] == 200 and server.statuses("b")[0][1] == "AVAILABLE")
    assert server.predict(1, "b") == 5.0
    config_file.write(b=(tmp_path / "b", ""))
    wait_until(lambda: server.call("GET", "/v1/models/a")[0] == 404)
    assert server.predict(1, "b") == 5.0


def test_a_config_file_that_is_wrong_changes_nothing(start, wait_until, half_plus_two, config_file, caplog):
    config_file.write(m=(half_plus_two, ""))
    server = start(ServedModels(config_file.read()), read_config=config_file.read, config_poll_seconds=0.01)
    config_file.path.write_text("model_config_list { config { nome: 'm' } }")
    wait_until(lambda: "The models stay as they are: " in caplog.text)
    assert 'has no field named "nome"' in caplog.text
    config_file.path.unlink()
    wait_until(lambda: "which is no file" in caplog.text)
    assert server.predict(2) == 3.0


def test_versions_are_looked_for_once_if_polling_is_off(start, tmp_path, save_affine):
    save_affine(tmp_path / "1")
    looks = []

    class Watched(ServedModel):
        def refresh(self):
            looks.append(1)
            return super().refresh()

    server = start(Watched("m", str(tmp_path)), poll_seconds=0)
    assert server.predict(2) == 3.0
    server.stop()
    assert looks == [1]


class HeldModel:
    """A model whose calls wait until they are let go."""

    def __init__(self):
        self.called, self.let_go, self.closed = threading.Event(), threading.Event(), False

    def signature(self, name):
        return Signature({"x": TensorInfo("x:0", "float", (None,))}, {})

    def run(self, name, inputs):
        self.called.set()
        assert self.let_go.wait(_PATIENCE_S)
        assert not self.closed
        return {"y": np.ones(1, np.float32)}

    def close(self):
        self.closed = True


def test_a_shutdown_answers_the_calls_that_are_on_their_way(tmp_path, run_app):
    (tmp_path / "1").mkdir()
    held = HeldModel()
    models = ServedModels.of(ServedModel("m", str(tmp_path), load=lambda path: held))
    models.start()
    app = make_app(models, ServerSettings())
    shutting_down = threading.Event()

    async def note(_):
        shutting_down.set()

    app.on_shutdown.append(note)
    server = run_app(app)
    results = []
    caller = threading.Thread(target=lambda: results.append(server.predict(1)))
    caller.start()
    assert held.called.wait(_PATIENCE_S)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert shutting_down.wait(_PATIENCE_S)
    assert not held.closed
    held.let_go.set()
    caller.join()
    stopper.join()
    assert results == [1.0]
    assert held.closed


def test_without_aiohttp_only_the_server_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "atrank_tf.serving.http.server")
    monkeypatch.delattr(atrank_tf.serving.http, "server")
    importlib.reload(atrank_tf.serving)
    for name in ("serve", "make_app"):
        with pytest.raises(ImportError, match=r"pip install 'atrank-tf\[serving\]'"):
            getattr(atrank_tf.serving, name)


def test_the_package_has_what_it_says():
    for name in atrank_tf.serving.__all__:
        assert getattr(atrank_tf.serving, name)
    with pytest.raises(AttributeError, match="has no attribute 'server_of_dreams'"):
        atrank_tf.serving.server_of_dreams  # noqa: B018
