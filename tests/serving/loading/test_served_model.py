import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.loading.config_files import ModelConfig
from atrank_tf.serving.loading.loader import LoadedModel
from atrank_tf.serving.loading.served_model import ServedModel
from atrank_tf.serving.loading.version_policy import All, Latest, Specific
from atrank_tf.serving.loading.version_status import VersionStatus


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
    model = ServedModel("m", str(tmp_path), load=load, max_retries=2, clock=lambda: next(clock))
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
        assert served.statuses()[1] == VersionStatus(1, "UNLOADING")
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


def write(folder, time):
    """A version folder whose model was written at a time of its own, in nanoseconds."""
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"")
    os.utime(folder / "saved_model.pb", ns=(time, time))


@pytest.mark.parametrize("seen", [True, False])
def test_another_model_under_the_same_number_is_swapped_in(served, tmp_path, loaded, seen):
    write(tmp_path / "1", 1)
    served.start()
    with served.lease() as (_, old):
        shutil.rmtree(tmp_path / "1")
        assert not (seen and served.refresh())  # where there is nothing, what is loaded stays
        write(tmp_path / "1", 2)
        assert served.refresh() is True
        assert not old.closed
        with served.lease(1) as (number, new):
            assert number == 1
            assert new is loaded[1]
    assert old.closed
    assert served.statuses() == [VersionStatus(1, "AVAILABLE")]
    assert served.refresh() is False
    (tmp_path / "1" / "saved_model.pb").unlink()  # no other model, as long as there is none
    assert served.refresh() is False
    assert not loaded[1].closed
    assert len(loaded) == 2


def test_the_loaded_model_answers_while_another_under_its_number_loads(tmp_path):
    seen = []

    def load(path):
        if (tmp_path / "1" / "saved_model.pb").stat().st_mtime_ns == 2:
            seen.append((number_served(model), model.statuses()))
        return FakeModel(path)

    model = ServedModel("m", str(tmp_path), load=load)
    write(tmp_path / "1", 1)
    model.start()
    write(tmp_path / "1", 2)
    model.refresh()
    assert seen == [(1, [VersionStatus(1, "AVAILABLE")])]
    model.close()


def test_another_model_under_the_same_number_that_cannot_be_loaded_is_told_of(served, tmp_path, loaded, monkeypatch):
    write(tmp_path / "1", 1)
    served.start()
    write(tmp_path / "1", 2)
    monkeypatch.setattr(FakeModel, "broken", {"1": OSError("half copied")})
    assert served.refresh() is False
    message = "The folder holds another model by now, which cannot be loaded: half copied"
    assert served.statuses() == [VersionStatus(1, "AVAILABLE", Code.NOT_FOUND, message)]
    assert number_served(served) == 1
    assert not loaded[0].closed
    write(tmp_path / "1", 1)
    assert served.refresh() is False
    assert served.statuses() == [VersionStatus(1, "AVAILABLE")]
    monkeypatch.setattr(FakeModel, "broken", {})
    write(tmp_path / "1", 3)
    assert served.refresh() is True
    assert served.statuses() == [VersionStatus(1, "AVAILABLE")]
    assert loaded[0].closed


def test_a_failing_version_is_retried_at_once_when_its_folder_holds_another_model(tmp_path):
    tries = []

    def load(path):
        tries.append(path)
        if len(tries) > 1:
            raise OSError("broken")
        return FakeModel(path)

    model = ServedModel("m", str(tmp_path), load=load, max_retries=0)
    write(tmp_path / "1", 1)
    model.start()
    for time, count in ((1, 1), (2, 2), (2, 2), (3, 3)):
        write(tmp_path / "1", time)
        model.refresh()
        assert len(tries) == count


def test_another_base_path_may_hold_another_model_under_the_same_number(served, tmp_path, loaded):
    write(tmp_path / "1", 1)
    served.start()
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "1", 2)
    served.configure(ModelConfig("m", str(tmp_path / "b")))
    assert [model.closed for model in loaded] == [True, False]


def test_versions_and_labels(served, tmp_path):
    (tmp_path / "1").mkdir()
    served.start()
    served.configure(ModelConfig("m", str(tmp_path), labels={"stable": 1}))
    with served.lease(version=1) as (number, _):
        assert number == 1
    with served.lease(label="stable") as (number, _):
        assert number == 1
    with pytest.raises(ServingError, match=r"^Servable not found for request: Specific\(m, 50\)$"), served.lease(50):
        pass
    with pytest.raises(ServingError, match=r"^Unrecognized servable version label: nope$"), served.lease(label="nope"):
        pass


def served_with(tmp_path, numbers, **arguments):
    for number in numbers:
        (tmp_path / str(number)).mkdir()
    model = ServedModel("m", str(tmp_path), load=FakeModel, **arguments)
    model.start()
    return model


def available(model):
    return [status.version for status in model.statuses() if status.state == "AVAILABLE"]


@pytest.mark.parametrize(
    ("policy", "numbers"), [(Latest(2), [5, 3]), (All(), [5, 3, 1]), (Specific(frozenset({1, 5})), [5, 1])]
)
def test_several_versions_at_once(tmp_path, policy, numbers):
    model = served_with(tmp_path, (1, 3, 5), policy=policy)
    assert available(model) == numbers
    assert number_served(model) == 5
    for number in numbers:
        with model.lease(number) as (found, loaded):
            assert (found, loaded.name) == (number, str(number))
    model.close()
    assert available(model) == []


def test_policies_are_followed_as_versions_come(tmp_path):
    model = served_with(tmp_path, (1, 2), policy=Latest(2))
    (tmp_path / "3").mkdir()
    assert model.refresh() is True
    assert available(model) == [3, 2]
    model.configure(ModelConfig("m", str(tmp_path), Specific(frozenset({1}))))
    assert available(model) == [1]
    model.configure(ModelConfig("m", str(tmp_path), Specific(frozenset({9}))))
    assert available(model) == [1]  # what the policy asks for is not there


def test_a_failing_version_does_not_keep_the_others_away(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeModel, "broken", {"3": OSError("no variables")})
    model = served_with(tmp_path, (1, 3), policy=All())
    assert model.statuses() == [
        VersionStatus(3, "END", Code.NOT_FOUND, "no variables"),
        VersionStatus(1, "AVAILABLE"),
    ]
    assert number_served(model) == 1


def test_nothing_that_the_policy_asks_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"and Specific\(.*9.*\)\. Received: \[1, 2\] in "):
        served_with(tmp_path, (1, 2), policy=Specific(frozenset({9})))


def label_of(model, label):
    with model.lease(label=label) as (number, _):
        return number


def test_labels_point_to_versions_that_are_available(tmp_path, caplog):
    model = served_with(tmp_path, (1, 2), policy=All(), labels={"stable": 1})
    assert label_of(model, "stable") == 1
    model.configure(ModelConfig("m", str(tmp_path), All(), {"stable": 3, "canary": 2}))
    assert "Request to assign label 'stable' to version 3 of model 'm', which is not available" in caplog.text
    assert (label_of(model, "stable"), label_of(model, "canary")) == (1, 2)
    (tmp_path / "3").mkdir()
    model.configure(ModelConfig("m", str(tmp_path), All(), {"stable": 3}))
    assert label_of(model, "stable") == 3
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        label_of(model, "canary")


def test_a_label_points_to_its_old_version_until_the_new_one_is_loaded_and_to_none_that_is_closed(tmp_path):
    seen = []

    class Watched(FakeModel):
        def close(self):
            seen.append((f"closing {self.name}", label_of(model, "stable")))
            super().close()

    def load(path):
        if path.endswith("43"):
            seen.append(("loading 43", label_of(model, "stable")))
        return Watched(path)

    for number in (41, 42, 43):
        (tmp_path / str(number)).mkdir()
    model = ServedModel("m", str(tmp_path), policy=Specific(frozenset({41, 42})), labels={"stable": 41}, load=load)
    model.start()
    model.configure(ModelConfig("m", str(tmp_path), Specific(frozenset({42, 43})), {"stable": 43}))
    assert seen == [("loading 43", 41), ("closing 41", 43)]
    assert label_of(model, "stable") == 43


def test_a_label_for_a_version_that_is_not_available_ends_the_start(tmp_path):
    message = r"^Request to assign label 'stable' to version 9 of model 'm', .* Available: \[2\]\.$"
    with pytest.raises(ValueError, match=message):
        served_with(tmp_path, (1, 2), labels={"stable": 9})


def test_new_labels_may_be_allowed_to_point_anywhere(tmp_path):
    model = served_with(tmp_path, (1, 2), labels={"next": 3, "stable": 2}, any_label=True)
    with pytest.raises(ServingError, match=r"^Servable not found for request: Specific\(m, 3\)$"):
        label_of(model, "next")
    (tmp_path / "3").mkdir()
    model.refresh()
    assert label_of(model, "next") == 3
    model.configure(ModelConfig("m", str(tmp_path), labels={"stable": 4, "next": 3}))
    with pytest.raises(ServingError, match=r"Specific\(m, 2\)$"):  # not new: it stays where it was
        label_of(model, "stable")


def test_why_a_version_failed_holds_no_stack(tmp_path, save_affine):
    save_affine(tmp_path / "1")
    model = ServedModel("m", str(tmp_path))
    model.start()
    save_affine(tmp_path / "2")
    (tmp_path / "2" / "variables" / "variables.index").write_bytes(b"")
    model.refresh()
    status = model.statuses()[0]
    assert (status.version, status.state) == (2, "END")
    assert status.code is not Code.OK
    assert "RestoreV2" in status.message
    assert ".py" not in status.message
    model.close()


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
