"""Versions of an export, and what is refused and leaves none."""

import shutil
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from atrank_tf.data import IdMaps, Records
from atrank_tf.models import BPRMF
from atrank_tf.saved_model import export_model, lint
from atrank_tf.server.limits import read_limited_inputs
from atrank_tf.server.loader import LoadedModel, read_meta_graph


@pytest.fixture(scope="module")
def small_model(records: Records) -> BPRMF:
    """Soon exported."""
    return BPRMF(records.schema, catalogs=records.catalogs, hidden_dim=4)


def test_versions_count_up_the_lint_is_content_and_explanations_must_be_asked_for(
    small_model: BPRMF, records: Records, timeline_export: str, tmp_path: Path
) -> None:
    assert lint(timeline_export) == []
    assert (Path(timeline_export) / "assets.extra/checksums.json").is_file()
    assert Path(timeline_export).name == "1"
    shutil.copytree(timeline_export, tmp_path / "1")
    second = export_model(small_model, IdMaps.of(records), str(tmp_path))
    assert Path(second).name == "2"
    first, plain = (set(read_meta_graph(path).signature_def) for path in (timeline_export, second))
    assert first - plain == {"explain", "explain__next_purchase", "encode_timeline", "append_behaviors"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_ids_are_assets_not_part_of_the_graph(shop_export: str, records: Records) -> None:
    """A protobuf holds 2 GiB at most."""
    graph, products = read_meta_graph(shop_export).graph_def, records.catalogs["product"].ids.tolist()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    constants = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    texts = [tf.make_ndarray(value) for value in constants if value.dtype == tf.string.as_datatype_enum]
    held = {text for values in texts for text in values.flatten()}
    assert not held & {product.encode() for product in products}
    assets = Path(shop_export) / "assets"
    assert (assets / "ids_product.txt").read_text().splitlines() == products
    assert {path.name for path in assets.iterdir()} >= {"table_channel.txt", "table_age.txt"}


def test_an_export_says_what_its_inputs_hold_and_cost(timeline_export: str) -> None:
    limited = read_limited_inputs(timeline_export)
    assert limited.examples == {"examples"}
    assert limited.histories.keys() == {"purchase__timestamp", "redemption__timestamp"}
    assert limited.cost.seen == 0  # All, without a window.
    assert all(cost > 0 for name, cost in vars(limited.cost).items() if name != "seen")
    assert limited.candidates == {"next_purchase__candidates"}
    signatures = LoadedModel(timeline_export).signatures
    assert limited.memory < signatures["score_candidates"].inputs.keys()
    assert limited.memory == signatures["encode_user"].outputs.keys() - {"encoded_at", "weights"}
    assert {"memory", "mask", "timestamp"} <= limited.memory


def test_signatures_of_one_function_are_of_the_same_tensors(timeline_export: str) -> None:
    signatures = LoadedModel(timeline_export).signatures
    for name in ("score", "rank", "score_candidates", "explain"):
        first = signatures["serving_default" if name == "score" else name]
        assert first == signatures[f"{name}__next_purchase"]


def test_what_tensorflow_serving_cannot_run_is_not_published(
    small_model: BPRMF, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrank_tf.saved_model.export.lint", lambda path: ["an op that it does not know"])
    with pytest.raises(ValueError, match="Found: an op that it does not know"):
        export_model(small_model, IdMaps.of(records), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_a_store(
    small_model: BPRMF, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"Expected a path of a file system\. Received: gs://bucket/export"):
        export_model(small_model, IdMaps.of(records), "gs://bucket/export")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_computes_in_half_precision(records: Records, tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = BPRMF(records.schema, catalogs=records.catalogs, hidden_dim=4)
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match=r"Expected a model that computes in float32.* Received: bfloat16\."):
        export_model(model, IdMaps.of(records), str(tmp_path / "export"))
    assert not list(tmp_path.iterdir())
