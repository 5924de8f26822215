"""Builders: the contract of TensorFlow Datasets, and that what they write are the records that `prepare` writes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.scripts.cli import build, cli_utils

from atrank_tf.data import Records, training_batches
from atrank_tf.datasets import (
    SOURCES,
    AmazonReviews2014,
    CompleteJourney,
    MovieLens100K,
    TaobaoUserBehavior,
    write_logs,
)
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema


class TestAmazonReviews2014(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = AmazonReviews2014
    BUILDER_CONFIG_NAMES_TO_TEST = ("baby",)
    SPLITS = {"train": 4}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def raw(self, request, amazon_raw):
        request.cls.EXAMPLE_DIR = amazon_raw


class TestTaobaoUserBehavior(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = TaobaoUserBehavior
    SPLITS = {"train": 3}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def raw(self, request, taobao_raw):
        request.cls.EXAMPLE_DIR = taobao_raw


class TestMovieLens100K(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = MovieLens100K
    SPLITS = {"train": 2}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def raw(self, request, movielens_raw):
        request.cls.EXAMPLE_DIR = movielens_raw


class TestCompleteJourney(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = CompleteJourney
    SPLITS = {"train": 2}  # noqa: RUF012
    EXAMPLE_DIR = Path(__file__).parent

    @pytest.fixture(autouse=True)
    def package(self, journey_package):
        """The data comes from a package, not from files."""


def test_every_source_has_a_builder():
    configs = {f"{AmazonReviews2014.name}/{config}" for config in AmazonReviews2014.builder_configs}
    assert configs | {CompleteJourney.name, MovieLens100K.name, TaobaoUserBehavior.name} == set(SOURCES)


def built(name, folder, raw, **settings):
    builder = tfds.builder(name, data_dir=folder / "tfds")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=raw, **settings))
    return builder


@pytest.fixture
def amazon(amazon_raw, tmp_path):
    """The builder, and the records that `prepare` makes of the same raw files."""
    source = SOURCES["amazon_reviews_2014/baby"]
    write_logs(source.logs({name: amazon_raw / name for name in source.files}), str(tmp_path / "logs"))
    prepared = prepare(str(tmp_path / "logs"), load_schema(source.schema), str(tmp_path / "records"), empty_parts=True)
    return built("amazon_reviews_2014/baby", tmp_path, amazon_raw), prepared


def test_a_built_data_set_is_a_records_folder(amazon):
    builder, prepared = amazon
    records = Records(builder.data_dir)
    assert records.schema == prepared.schema
    assert [Path(file).name for file in records.files] == [Path(file).name for file in prepared.files]
    assert [Path(file).read_bytes() for file in records.files] == [Path(file).read_bytes() for file in prepared.files]
    batches = [training_batches(folder, seed=1) for folder in (records, prepared)]
    assert batches[0].steps == batches[1].steps > 0
    one, other = (next(iter(found.dataset.take(found.steps))) for found in batches)
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_nothing_but_the_records_is_left(amazon):
    builder, prepared = amazon
    own = {path.name for path in Path(prepared.path).iterdir()}
    assert {path.name for path in Path(builder.data_dir).iterdir()} == own | {"dataset_info.json", "features.json"}
    assert [path.name for path in Path(builder.data_dir).parent.iterdir()] == ["1.0.0"]


def test_the_split_is_whole_timelines(amazon):
    _, prepared = amazon
    timelines = {}
    for serialized in tf.data.TFRecordDataset(prepared.files):
        features = tf.train.Example.FromString(serialized.numpy()).features.feature
        timelines[features["user_id"].bytes_list.value[0]] = list(features["review/id"].int64_list.value)
    loaded = tfds.load("amazon_reviews_2014/baby", split="train", data_dir=Path(prepared.path).parent / "tfds")
    assert {row["user_id"]: row["review"]["id"].tolist() for row in loaded.as_numpy_iterator()} == timelines
    assert len(timelines[b"U1"]) == 5


@pytest.mark.slow
def test_the_number_of_shards(amazon_raw, tmp_path):
    builder = built("amazon_reviews_2014/baby", tmp_path, amazon_raw, num_shards=3)
    assert builder.info.splits["train"].num_shards == len(Records(builder.data_dir).files) == 3
    assert builder.info.splits["train"].num_examples == 4


@pytest.mark.slow
def test_raw_files_are_downloaded(amazon_raw, tmp_path, serve, monkeypatch):
    name = "amazon_reviews_2014/baby"
    monkeypatch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], url=serve(amazon_raw)))
    builder = built(name, tmp_path, None)
    assert Records(builder.data_dir).manifest["behaviors"] == {"review": 12}


def test_only_a_person_may_download(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected UserBehavior\.csv in the folder of raw files, .*Download"):
        built("taobao_user_behavior", tmp_path, None)
    assert list((tmp_path / "tfds/taobao_user_behavior").iterdir()) == []


def test_records_are_tfrecord_files(amazon_raw, tmp_path):
    builder = tfds.builder("amazon_reviews_2014/baby", data_dir=tmp_path, file_format="array_record")
    with pytest.raises(ValueError, match=r"Expected file_format tfrecord, .* Received: array_record\."):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=amazon_raw))


def test_the_tfds_command_builds(taobao_raw, tmp_path):
    paths = cli_utils.PathOptions(data_dir=tmp_path, manual_dir=taobao_raw)
    imports = cli_utils.GenerationOptions(imports="atrank_tf.datasets")
    build.Args(positional_datasets=["taobao_user_behavior"], datasets=[], paths=paths, generation=imports).execute()
    assert Records(str(tmp_path / "taobao_user_behavior/1.0.0")).manifest["users"] == 3
