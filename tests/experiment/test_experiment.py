"""The experiment file: what it may say, what it may not, and that nothing is lost on the way."""

import tomllib
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.experiment import (
    MODEL_CONFIGS,
    ATRankConfig,
    Batching,
    Experiment,
    Training,
    dump_experiment,
    experiment_from_dict,
    experiment_to_dict,
    load_experiment,
)
from atrank_tf.experiment.experiment import REMOVED_KEYS, RENAMED_KEYS

SHIPPED = [
    path
    for path in sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))
    if "model" in tomllib.loads(path.read_text())
]
FULL = """
[model]
name = "atrank"
tasks = ["next_purchase"]
hidden_dim = 22
num_spaces = 11
score = "scaled_dot"
attention_activation = "relu"
ranking = ["dnn"]
hidden_units = [13, 5]
item_bias = false
dropout = 0.5

[batching]
batch_size = 17
negatives = 3

[training]
loss = "pairwise"
epochs = 7
learning_rate = 0.01
warmup = 0.1
decay_at = [0.5, 0.75]
decay = 0.3
clip_norm = 5
patience = 2
seed = 0
"""


def _write(folder: Path, text: str) -> str:
    path = folder / "experiment.toml"
    path.write_text(text)
    return str(path)


def test_every_key_of_a_file_is_read(tmp_path: Path) -> None:
    assert load_experiment(_write(tmp_path, FULL)) == Experiment(
        name="atrank",
        model=ATRankConfig(
            tasks=("next_purchase",),
            hidden_dim=22,
            num_spaces=11,
            score="scaled_dot",
            attention_activation="relu",
            ranking=("dnn",),
            hidden_units=(13, 5),
            item_bias=False,
            dropout=0.5,
        ),
        batching=Batching(batch_size=17, negatives=3),
        training=Training(
            loss="pairwise",
            epochs=7,
            learning_rate=0.01,
            warmup=0.1,
            decay_at=(0.5, 0.75),
            decay=0.3,
            clip_norm=5.0,
            patience=2,
            seed=0,
        ),
    )


def test_what_a_file_leaves_out_has_its_default() -> None:
    experiment = experiment_from_dict({"model": {"name": "atrank"}})
    assert experiment == Experiment(name="atrank", model=ATRankConfig())
    assert (experiment.batching, experiment.training) == (Batching(), Training())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_experiment_loads(path: Path) -> None:
    experiment = load_experiment(str(path))
    assert isinstance(experiment.model, MODEL_CONFIGS[experiment.name])


def test_there_are_shipped_experiments() -> None:
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_to_dict_and_back_gives_an_equal_shipped_experiment(path: Path) -> None:
    experiment = load_experiment(str(path))
    assert experiment_from_dict(experiment_to_dict(experiment)) == experiment


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_text_of_an_experiment_has_every_key_and_is_read_back(path: Path, tmp_path: Path) -> None:
    experiment = load_experiment(str(path))
    (tmp_path / "experiment.toml").write_text(dump_experiment(experiment))
    assert load_experiment(str(tmp_path / "experiment.toml")) == experiment
    raw = tomllib.loads(dump_experiment(experiment))
    assert set(raw["training"]) == {field.name for field in fields(Training)}
    assert set(raw["model"]) == {"name"} | {field.name for field in fields(experiment.model)}


def test_to_dict_gives_what_the_file_said_and_back_gives_an_equal_experiment() -> None:
    raw = tomllib.loads(FULL)
    experiment = experiment_from_dict(raw)
    found = experiment_to_dict(experiment)
    assert {section: {**found[section], **keys} for section, keys in raw.items()} == found
    assert experiment_from_dict(experiment_to_dict(experiment)) == experiment


def test_the_dict_of_an_experiment_has_every_key_as_a_later_version_may_have_other_defaults() -> None:
    raw = experiment_to_dict(experiment_from_dict({"model": {"name": "atrank"}}))
    assert set(raw["model"]) == {"name"} | {field.name for field in fields(MODEL_CONFIGS["atrank"])}
    assert set(raw["batching"]) == {field.name for field in fields(Batching)}
    assert set(raw["training"]) == {field.name for field in fields(Training)}


def test_experiments_cannot_be_changed_but_replaced() -> None:
    experiment = experiment_from_dict({"model": {"name": "atrank"}})
    for field in fields(experiment):
        with pytest.raises(FrozenInstanceError):
            setattr(experiment, field.name, None)
    with pytest.raises(FrozenInstanceError):
        experiment.training.epochs = 2  # type: ignore[misc]
    assert replace(experiment.training, epochs=2) == Training(epochs=2)


def _with(section: str, key: str, value: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {"model": {"name": "atrank"}}
    raw.setdefault(section, {})[key] = value
    return raw


WRONG = {
    "unknown section": (
        {"model": {"name": "atrank"}, "trainning": {}},
        r'Unknown key "trainning" in the top level\. Did you mean "training"\? Valid: batching, model, training\.',
    ),
    "no model": ({"training": {}}, r'Expected \[model\] with name = "\.\.\.", as name = "atrank"\.'),
    "no name": ({"model": {"hidden_dim": 128}}, r'Expected \[model\] with name = "\.\.\.", as name = "atrank"\.'),
    "model is a text": ({"model": "atrank"}, r'Expected \[model\] with name = "\.\.\.", as name'),
    "unknown model": (
        {"model": {"name": "atrnak"}},
        r"Unknown model 'atrnak' in \[model\]\. Did you mean \"atrank\"\?",
    ),
    "name is a number": ({"model": {"name": 3}}, r"Unknown model 3 in \[model\]\. Valid: atrank"),
    "unknown model key": (
        _with("model", "hiden_dim", 8),
        r'Unknown key "hiden_dim" in \[model\]\. Did you mean "hidden_dim"\?',
    ),
    "unknown batching key": (
        _with("batching", "batchsize", 8),
        r'Unknown key "batchsize" in \[batching\]\. Did you mean "batch_size"\?',
    ),
    "unknown training key": (
        _with("training", "learning_rat", 0.1),
        r'Unknown key "learning_rat" in \[training\]\. Did you mean "learning_rate"\?',
    ),
    "section is a number": (
        {"model": {"name": "atrank"}, "training": 3},
        r"Expected a table of keys at \[training\]: loss, embeddings_initializer, .*\. Received: 3\.",
    ),
    "wrong type": (
        _with("training", "epochs", 1.5),
        r"Expected a whole number for training\.epochs\. Received: 1\.5\.",
    ),
    "truth for a number": (
        _with("training", "epochs", True),
        r"Expected a whole number for training\.epochs\. Received: True\.",
    ),
    "text for a number": (
        _with("training", "learning_rate", "fast"),
        r"Expected a number for training\.learning_rate\. Received: 'fast'\.",
    ),
    "number for a list": (
        _with("training", "decay_at", 0.5),
        r"Expected a list for training\.decay_at\. Received: 0\.5\.",
    ),
    "unknown loss": (
        _with("training", "loss", "pairwize"),
        r"Unknown loss 'pairwize' in \[training\]\. Did you mean \"pairwise\"\?",
    ),
    "no slices": (_with("training", "slices", 0), r"slices must be positive\. Received: slices=0 in \[training\]\."),
    "fewer epochs than none": (
        _with("training", "epochs", -1),
        r"epochs must not be negative\. Received: epochs=-1 in \[training\]\.",
    ),
    "no learning rate": (
        _with("training", "learning_rate", 0.0),
        r"learning_rate must be positive\. Received: learning_rate=0\.0 in \[training\]\.",
    ),
    "no decay": (_with("training", "decay", -0.1), r"decay must be positive\. Received: decay=-0\.1 in \[training\]\."),
    "negative clip norm": (
        _with("training", "clip_norm", -1.0),
        r"clip_norm must not be negative\. Received: clip_norm=-1\.0 in \[training\]\.",
    ),
    "negative patience": (
        _with("training", "patience", -1),
        r"patience must not be negative\. Received: patience=-1 in \[training\]\.",
    ),
    "negative task weight": (
        _with("training", "task_weights", {"buy": -1.0}),
        r"weight must not be negative\. Received: buy=-1\.0 in \[training\.task_weights\]\.",
    ),
    "large seed": (
        _with("training", "seed", 2**32),
        r"seed must be at most 4294967295\. Received: seed=4294967296 in \[training\]\.",
    ),
    "negative seed": (
        _with("training", "seed", -1),
        r"seed must not be negative\. Received: seed=-1 in \[training\]\.",
    ),
    "decay that descends": (
        _with("training", "decay_at", [0.8, 0.5]),
        r"Expected ascending shares between 0 and 1\. Received: decay_at=\[0\.8, 0\.5\] in \[training\]\.",
    ),
    "an average of one epoch": (
        _with("training", "average_from", 0.95),
        r"Expected two epochs or more to average\. Received: average_from=0\.95 of epochs=10 in \[training\]\.",
    ),
    "an average from the end": (_with("training", "average_from", 1.0), r"Received: average_from=1\.0 in \[training\]"),
    "a warm-up without an end": (_with("training", "warmup", 1.0), r"Received: warmup=1\.0 in \[training\]\."),
    "decay twice at once": (_with("training", "decay_at", [0.5, 0.5]), r"Received: decay_at=\[0\.5, 0\.5\]"),
    "decay at the start": (_with("training", "decay_at", [0.0]), r"Received: decay_at=\[0\.0\]"),
    "decay at the end": (_with("training", "decay_at", [0.5, 1.0]), r"Received: decay_at=\[0\.5, 1\.0\]"),
    "no batch": (_with("batching", "batch_size", 0), r"batch_size must be positive\. Received: batch_size=0"),
    "no hidden_dim": (
        _with("model", "hidden_dim", 0),
        r"hidden_dim must be positive\. Received: hidden_dim=0 in \[model\]\.",
    ),
    "spaces that do not divide": (
        _with("model", "num_spaces", 7),
        r"num_spaces must divide hidden_dim\. Received: num_spaces=7, hidden_dim=128 in \[model\]\.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_experiment_is_refused_with_its_place_and_what_is_valid(case: str) -> None:
    raw, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        experiment_from_dict(raw)


@pytest.mark.parametrize(("key", "name"), RENAMED_KEYS.items())
def test_a_key_that_was_renamed_says_its_new_name(key: str, name: str) -> None:
    assert any(name in config.__dataclass_fields__ for config in MODEL_CONFIGS.values())
    with pytest.raises(ValueError, match=rf'Unknown key "{key}" in \[model\]: it is called "{name}" now\.'):
        experiment_from_dict({"model": {"name": "atrank", key: 1}})


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, keys in REMOVED_KEYS.items() for key in keys])
def test_a_key_that_was_removed_says_why(section: str, key: str) -> None:
    message = rf'Unknown key "{key}" in \[{section}\]: it was removed, because .*docs/tried\.md'
    with pytest.raises(ValueError, match=message):
        experiment_from_dict(_with(section, key, 1))


def test_a_model_name_that_is_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown model \['atrank'\] in \[model\]\."):
        experiment_from_dict({"model": {"name": ["atrank"]}})


@pytest.mark.parametrize("key", ["learning_rate", "decay", "clip_norm"])
def test_a_setting_that_is_not_a_number_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"Received: {key}=nan"):
        experiment_from_dict(_with("training", key, float("nan")))


def test_patience_seed_and_clip_norm_may_be_zero() -> None:
    assert experiment_from_dict(
        {"model": {"name": "atrank"}, "training": {"patience": 0, "seed": 0, "clip_norm": 0.0}}
    ).training == Training(seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[model]\nname = "atrnak"', r"Unknown model 'atrnak' in \[model\]\..*\(in .*experiment\.toml\)"),
        ('[model]\nname = "atrank"\n[training]\nslices = 0', r"slices=0 in \[training\]\. \(in .*experiment\.toml\)"),
        ("[model\n", r"experiment\.toml is not valid TOML: .*line 1"),
    ],
)
def test_an_error_in_a_file_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_experiment(_write(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"Expected a TOML file at .*{path.name}\. Found none\."):
            load_experiment(str(path))


def test_a_schema_in_place_of_an_experiment(schema_file: Path) -> None:
    with pytest.raises(
        ValueError, match=r'Unknown key "tables" in the top level\. This is a schema, which prepare takes;'
    ):
        load_experiment(str(schema_file))


@pytest.mark.parametrize(
    ("section", "key", "owner"),
    [
        ("model", "learning_rate", r"\[training\]"),
        ("batching", "epochs", r"\[training\]"),
        ("training", "batch_size", r"\[batching\]"),
        ("training", "hidden_dim", r"\[model\]"),
        ("model", "windows", 'the model "cnn"'),
        ("training", "num_heads", 'the model "sasrec"'),
    ],
)
def test_a_key_of_another_section_or_model(section: str, key: str, owner: str) -> None:
    raw: dict[str, Any] = {"model": {"name": "atrank"}}
    raw[section] = raw.get(section, {}) | {key: 1}
    with pytest.raises(ValueError, match=rf'Unknown key "{key}" in \[{section}\]\. It is a key of {owner}\.'):
        experiment_from_dict(raw)
