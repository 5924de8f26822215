import pytest
from fake_models import FakeModel, number_served, served_with

from atrank_tf.server.errors import Code
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.versions import All, VersionStatus


def test_a_first_version_that_fails_ends_the_start(served, tmp_path, monkeypatch):
    (tmp_path / "7").mkdir()
    monkeypatch.setattr(FakeModel, "broken", {"7": OSError("no variables")})
    with pytest.raises(ValueError, match="Version 7 of model 'm' cannot be loaded: no variables"):
        served.start()


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


@pytest.mark.parametrize("spelled", ["{}", "{}/", "{}/../{name}"])
def test_a_status_does_not_say_where_the_versions_are_and_the_log_does(tmp_path, monkeypatch, caplog, spelled):
    base = spelled.format(tmp_path, name=tmp_path.name)

    def load(path):
        raise OSError(f"no {path}/variables, {tmp_path}/2/x, in '{base}', {tmp_path}more")

    (tmp_path / "2").mkdir()
    model = ServedModel("m", base, load=load)
    model.refresh()
    [status] = model.statuses()
    assert status.message.startswith("no 2/variables, 2/x, in ''")
    assert status.message.endswith(f"{tmp_path}more")
    assert f"{tmp_path}/2/x" in caplog.text


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


def test_a_failing_version_does_not_keep_the_others_away(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeModel, "broken", {"3": OSError("no variables")})
    model = served_with(tmp_path, (1, 3), policy=All())
    assert model.statuses() == [
        VersionStatus(3, "END", Code.NOT_FOUND, "no variables"),
        VersionStatus(1, "AVAILABLE"),
    ]
    assert number_served(model) == 1


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
