"""MovieLens 100K: the raw files -> logs."""

import pytest

from atrank_tf.datasets import SOURCES, write_logs
from atrank_tf.datasets.movielens import GENRES
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema

SOURCE = SOURCES["movielens_100k"]


def files(folder):
    return {name: folder / name for name in SOURCE.files}


@pytest.fixture
def logs(movielens_raw):
    return {name: frame.collect().rows() for name, frame in SOURCE.logs(files(movielens_raw)).items()}


def test_stars_are_the_action(logs):
    assert logs["behaviors/rating"] == [
        ("1", "10", "5", 880_000_000),
        ("2", "11", "1", 880_000_060),
        ("1", "12", "3", 880_000_030),
        ("2", "10", "4", 880_000_090),
    ]


def test_movies_have_a_year_and_genres(logs):
    assert logs["catalog/movie"] == [
        ("10", "Misérables, Les (1995)", "1995", ["Drama", "Musical"]),
        ("11", 'Without "quotes"', None, ["unknown"]),
        ("12", "None of all (1990)", "1990", []),
    ]
    assert len(set(GENRES)) == 19


def test_people(logs):
    assert logs["catalog/user"] == [("1", 24, "M", "technician"), ("2", 53, "F", "other")]


@pytest.mark.parametrize(
    ("name", "text", "log"),
    [("u.data", "user\titem\trating\ttimestamp\n", "behaviors/rating"), ("u.user", "1|?|M|writer|1\n", "catalog/user")],
)
def test_a_raw_file_of_another_kind(movielens_raw, tmp_path, name, text, log):
    (movielens_raw / name).write_text(text)
    with pytest.raises(ValueError, match=f"{log} cannot be made from the raw files: "):
        write_logs(SOURCE.logs(files(movielens_raw)), str(tmp_path / "logs"))


def test_the_logs_fit_the_schema(movielens_raw, tmp_path):
    write_logs(SOURCE.logs(files(movielens_raw)), str(tmp_path / "logs"))
    records = prepare(str(tmp_path / "logs"), load_schema(SOURCE.schema), str(tmp_path / "records"), empty_parts=True)
    assert (records.manifest["users"], records.manifest["behaviors"]) == (2, {"rating": 4})
    assert {name: file["dropped"] for name, file in records.manifest["files"].items()} == {
        "catalog/movie": {},
        "catalog/user": {},
        "behaviors/rating": {},
    }
