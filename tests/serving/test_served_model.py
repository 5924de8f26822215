from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.loader import LoadedModel
from atrank_tf.serving.served_model import ServedModel, VersionStatus


class FakeModel:
    """Stands for a loaded version; `broken` holds the names of folders that cannot be loaded, and why."""

    broken: ClassVar[dict] = {}

    def __init__(self, path):
        self.name = path.rsplit("/", 1)[1]
        self.closed = False
        if self.name in self.broken:
            raise self.broken[self.name]

    def close(self):
        self.closed = True


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
    model = ServedModel("m", str(tmp_path), labels={"stable": 1}, load=load, max_retries=2, clock=lambda: next(clock))
    yield model
    model.close()


def number_served(model):
    with model.lease() as (number, _):
        return number


def test_the_largest_version_is_served_and_other_names_are_ignored(tmp_path, save_affine):
    save_affine(tmp_path / "00000123", slope=1.0)
    save_affine(tmp_path / "00000124", slope=3.0)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "readme").write_text("")
    model = ServedModel("m", str(tmp_path))
    model.start()
    with model.lease() as (number, loaded):
        assert isinstance(loaded, LoadedModel)
        assert number == 124
        assert loaded.run("serving_default", {"x": np.ones(1, np.float32)})["y"].tolist() == [5.0]
    assert model.statuses() == [VersionStatus(124, "AVAILABLE")]
    model.close()


def test_nothing_to_serve(served, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"Received: no version in {tmp_path}"):
        served.start()
    with pytest.raises(ServingError, match=r"^Servable not found for request: Latest\(m\)$") as caught, served.lease():
        pass
    assert caught.value.code is Code.NOT_FOUND
    assert served.refresh() is False


def test_a_first_version_that_fails_ends_the_start(served, tmp_path, monkeypatch):
    (tmp_path / "7").mkdir()
    monkeypatch.setattr(FakeModel, "broken", {"7": OSError("no variables")})
    with pytest.raises(ValueError, match="Version 7 of model 'm' cannot be loaded: no variables"):
        served.start()


def test_a_new_version_is_swapped_in_and_the_old_one_closed(served, tmp_path, loaded):
    (tmp_path / "1").mkdir()
    served.start()
    assert served.refresh() is False
    (tmp_path / "2").mkdir()
    assert served.refresh() is True
    assert number_served(served) == 2
    assert [model.closed for model in loaded] == [True, False]
    assert served.statuses() == [VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END")]


def test_the_old_version_answers_while_the_new_one_loads(tmp_path):
    seen = []

    def load(path):
        if path.endswith("2"):
            seen.append((number_served(model), model.statuses()))
        return FakeModel(path)

    model = ServedModel("m", str(tmp_path), load=load)
    (tmp_path / "1").mkdir()
    model.start()
    (tmp_path / "2").mkdir()
    model.refresh()
    assert seen == [(1, [VersionStatus(2, "LOADING"), VersionStatus(1, "AVAILABLE")])]
    model.close()


def test_a_version_stays_open_for_the_calls_that_use_it(served, tmp_path, loaded):
    (tmp_path / "1").mkdir()
    served.start()
    with served.lease() as (_, outer):
        with served.lease():
            (tmp_path / "2").mkdir()
            served.refresh()
        assert not outer.closed
    assert outer.closed
    with served.lease() as (_, last):
        served.close()
        assert not last.closed
    assert last.closed
    assert len(loaded) == 2


def test_a_failing_version_leaves_the_old_one_serving(served, tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    served.start()
    (tmp_path / "2").mkdir()
    monkeypatch.setattr(FakeModel, "broken", {"2": RuntimeError("out of luck")})
    assert served.refresh() is False
    assert number_served(served) == 1
    assert served.statuses() == [
        VersionStatus(2, "END", Code.UNKNOWN, "out of luck"),
        VersionStatus(1, "AVAILABLE"),
    ]


def test_a_failing_version_is_retried_now_and_then_but_not_for_ever(tmp_path):
    now, tries = [0.0], []

    def load(path):
        if path.endswith("2"):
            tries.append(now[0])
            raise OSError("broken")
        return FakeModel(path)

    model = ServedModel("m", str(tmp_path), load=load, max_retries=2, retry_seconds=60, clock=lambda: now[0])
    (tmp_path / "1").mkdir()
    model.start()
    (tmp_path / "2").mkdir()
    for now[0] in range(0, 600, 10):
        model.refresh()
    assert tries == [0, 60, 120]
    (tmp_path / "3").mkdir()
    assert model.refresh() is True
    model.close()


def test_a_folder_that_comes_back_is_tried_afresh(served, tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    served.start()
    (tmp_path / "2").mkdir()
    monkeypatch.setattr(FakeModel, "broken", {"2": OSError("half copied")})
    served.refresh()
    (tmp_path / "2").rmdir()
    assert served.refresh() is False
    assert served.statuses() == [VersionStatus(1, "AVAILABLE")]
    (tmp_path / "2").mkdir()
    monkeypatch.setattr(FakeModel, "broken", {})
    assert served.refresh() is True


def test_deleting_the_newest_version_goes_back_to_the_one_before(served, tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
    served.start()
    (tmp_path / "2").rmdir()
    assert served.refresh() is True
    assert number_served(served) == 1
    (tmp_path / "1").rmdir()
    assert served.refresh() is False
    assert number_served(served) == 1


def test_versions_and_labels(served, tmp_path):
    (tmp_path / "1").mkdir()
    served.start()
    with served.lease(version=1) as (number, _):
        assert number == 1
    with served.lease(label="stable") as (number, _):
        assert number == 1
    with pytest.raises(ServingError, match=r"^Servable not found for request: Specific\(m, 50\)$"), served.lease(50):
        pass
    with pytest.raises(ServingError, match=r"^Unrecognized servable version label: nope$"), served.lease(label="nope"):
        pass


def test_calls_in_many_threads_survive_swaps(tmp_path):
    class Checked(FakeModel):
        def run(self):
            assert not self.closed

    model = ServedModel("m", str(tmp_path), load=Checked)
    (tmp_path / "1").mkdir()
    model.start()

    def call(_):
        with model.lease() as (_, loaded):
            loaded.run()

    with ThreadPoolExecutor(4) as pool:
        calls = pool.map(call, range(2000))
        for number in range(2, 20):
            (tmp_path / str(number)).mkdir()
            assert model.refresh()
        assert len(list(calls)) == 2000
    model.close()
