import pytest
from fake_models import FakeModel, label_of, number_served, served_with

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.errors import ServingError
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.versions import All, Specific


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


def test_a_label_moves_to_a_version_that_comes_after_the_config_before_its_old_one_is_closed(tmp_path):
    seen = []

    class Watched(FakeModel):
        def close(self):
            seen.append((f"closing {self.name}", label_of(model, "stable")))
            super().close()

    (tmp_path / "41").mkdir()
    model = ServedModel("m", str(tmp_path), policy=Specific(frozenset({41})), labels={"stable": 41}, load=Watched)
    model.start()
    model.configure(ModelConfig("m", str(tmp_path), Specific(frozenset({42})), {"stable": 42}))
    assert label_of(model, "stable") == 41
    (tmp_path / "42").mkdir()
    assert model.refresh()
    assert seen == [("closing 41", 42)]
    assert label_of(model, "stable") == 42


def test_a_version_stays_for_a_label_that_cannot_move_on_and_for_nobody_else(tmp_path, monkeypatch):
    model = served_with(tmp_path, (4,), labels={"stable": 4}, retry_seconds=0.0)
    monkeypatch.setitem(FakeModel.broken, "2", ValueError("cut short"))
    for number in (2, 3):
        (tmp_path / str(number)).mkdir()
    back = Specific(frozenset({2, 3}))
    model.configure(ModelConfig("m", str(tmp_path), back, {"stable": 2}))
    assert (label_of(model, "stable"), number_served(model)) == (4, 3)
    FakeModel.broken.pop("2")
    model.configure(ModelConfig("m", str(tmp_path), Specific(frozenset({2})), {"stable": 2}))
    assert (label_of(model, "stable"), number_served(model)) == (2, 2)
    with pytest.raises(ServingError, match=r"Specific\(m, 4\)$"), model.lease(version=4):
        pass


def test_a_label_does_not_hold_what_the_policy_retires(tmp_path):
    model = served_with(tmp_path, (1,), labels={"stable": 1})
    (tmp_path / "2").mkdir()
    model.refresh()
    assert number_served(model) == 2
    with pytest.raises(ServingError, match=r"Specific\(m, 1\)$"):
        label_of(model, "stable")
