"""What TensorBoard finds: images after each epoch, tables with names at the end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from atrank_tf.explanation import AttentionImages, Names
from atrank_tf.explanation.tensorboard import attention_image, write_projector

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(model: Any, records: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorboard")
    callback = AttentionImages(str(folder), records, users=1)
    callback.set_model(model)
    callback.on_train_begin()
    before = [weight.numpy() for weight in model.weights]
    for epoch in (0, 1):
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    return folder / "explanation"


def test_images_of_every_attention_are_written_after_each_epoch(run: Path) -> None:
    [events] = run.glob("events.*")
    found: dict[str, list[int]] = {}
    for event in EventFileLoader(str(events)).Load():
        for value in event.summary.value:
            found.setdefault("/".join(value.tag.split("/")[:2]), []).append(event.step)
            width, height, png = value.tensor.string_val
            assert tf.io.decode_png(png).shape == (int(height), int(width), 1)
    names = ("self_attention_0", "self_attention_1", "target_attention")
    assert set(found) >= {f"next_purchase/{name}" for name in names}
    assert all(steps == [0, 1] for steps in found.values())


def test_tables_are_written_with_a_name_for_each_row(run: Path, model: Any, names: Names) -> None:
    config = text_format.Parse((run / "projector_config.pbtxt").read_text(), ProjectorConfig())
    tables = names.schema.tables
    assert {each.tensor_name for each in config.embeddings} == {name for name in tables if tables[name].dim}
    for each in config.embeddings:
        table = np.loadtxt(run / each.tensor_path, delimiter="\t", ndmin=2)
        expected = np.asarray(model.get_layer(f"table_{each.tensor_name}").embeddings)
        np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-6)
        lines = (run / each.metadata_path).read_text().splitlines()
        assert lines == names.of_table(each.tensor_name, len(expected))
        assert len(lines) == len(expected)


def test_tables_that_the_model_does_not_read_are_left_out(
    make_model: Callable[..., Any], names: Names, tmp_path: Path
) -> None:
    """Nobody reads the channel of the other task, nor what is known of the user."""
    write_projector(make_model(tasks=["next_purchase"], ranking=["dot"]), names, str(tmp_path))
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert {each.tensor_name for each in config.embeddings} == {"product", "coupon", "category"}


def test_an_image_holds_the_maps_side_by_side_dark_where_much() -> None:
    weights = np.array([[[0.0, 0.5], [1.0, 0.0]], [[0.25, 0.0], [0.0, 0.0]]])
    image = attention_image(weights)
    side = 128
    assert image.shape == (2 * side, 2 * 3 * side, 1) and image.dtype == np.uint8
    squares = image[side // 2 :: side, side // 2 :: side, 0]
    np.testing.assert_array_equal(squares, [[255, 127, 255, 191, 255, 255], [0, 255, 255, 255, 255, 255]])
