from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_models import FakeModel, number_served, served_with

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.loader import LoadedModel
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.versions import All, Latest, Specific, VersionStatus


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


def test_nothing_that_the_policy_asks_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"and Specific\(.*9.*\)\. Received: \[1, 2\] in "):
        served_with(tmp_path, (1, 2), policy=Specific(frozenset({9})))


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
