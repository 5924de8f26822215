import shutil

import pytest
from fake_models import FakeModel, number_served, write_version

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.errors import Code
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.versions import VersionStatus


@pytest.mark.parametrize("seen", [True, False])
def test_another_model_under_the_same_number_is_swapped_in(served, tmp_path, loaded, seen):
    write_version(tmp_path / "1", 1)
    served.start()
    with served.lease() as (_, old):
        shutil.rmtree(tmp_path / "1")
        assert not (seen and served.refresh())  # where there is nothing, what is loaded stays
        write_version(tmp_path / "1", 2)
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
    write_version(tmp_path / "1", 1)
    model.start()
    write_version(tmp_path / "1", 2)
    model.refresh()
    assert seen == [(1, [VersionStatus(1, "AVAILABLE")])]
    model.close()


def test_another_model_under_the_same_number_that_cannot_be_loaded_is_told_of(served, tmp_path, loaded, monkeypatch):
    write_version(tmp_path / "1", 1)
    served.start()
    write_version(tmp_path / "1", 2)
    monkeypatch.setattr(FakeModel, "broken", {"1": OSError("half copied")})
    assert served.refresh() is False
    message = "The folder holds another model by now, which cannot be loaded: half copied"
    assert served.statuses() == [VersionStatus(1, "AVAILABLE", Code.NOT_FOUND, message)]
    assert number_served(served) == 1
    assert not loaded[0].closed
    write_version(tmp_path / "1", 1)
    assert served.refresh() is False
    assert served.statuses() == [VersionStatus(1, "AVAILABLE")]
    monkeypatch.setattr(FakeModel, "broken", {})
    write_version(tmp_path / "1", 3)
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
    write_version(tmp_path / "1", 1)
    model.start()
    for time, count in ((1, 1), (2, 2), (2, 2), (3, 3)):
        write_version(tmp_path / "1", time)
        model.refresh()
        assert len(tries) == count


def test_another_base_path_may_hold_another_model_under_the_same_number(served, tmp_path, loaded):
    write_version(tmp_path / "1", 1)
    served.start()
    (tmp_path / "b").mkdir()
    write_version(tmp_path / "b" / "1", 2)
    served.configure(ModelConfig("m", str(tmp_path / "b")))
    assert [model.closed for model in loaded] == [True, False]
