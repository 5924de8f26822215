"""Several workers, as processes of this machine: what they compute is what one would have computed.

`python test_workers.py WHAT FOLDER` with TF_CONFIG is one of them; FOLDER/<index>.npz then has what it holds.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Popularity, Records
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.layers import SparseEmbedding
from atrank_tf.losses import PairwiseCrossentropy, PointwiseCrossentropy
from atrank_tf.metrics import RequestAUC
from atrank_tf.optimizers import ApplyPendingDecay, SparseAdagrad, SparseAdam, sparse_adam
from atrank_tf.training import AverageWeights, Workers, load, train, workers
from atrank_tf.training.data_parallel import BroadcastState, GlobalMetrics, agreed_steps, one_at_least
from atrank_tf.training.workers import ALONE

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""After which a test ends whatever hangs."""
OPTIMIZERS: dict[str, Any] = {
    "l2": lambda workers: SparseAdam(
        0.02, l2=1e-3, global_clipnorm=0.5, whole_up_to=0, reduce_gradients=workers.mean_gradients
    ),
    "decay": lambda workers: SparseAdam(0.02, weight_decay=0.05, reduce_gradients=workers.mean_gradients),
    "adagrad": lambda workers: SparseAdagrad(
        0.05, accumulators="row", weight_decay=0.05, reduce_gradients=workers.mean_gradients
    ),
}
LOSSES: dict[str, Any] = {"decay": PairwiseCrossentropy}
"""Of the cases that have another loss than the point-wise one."""
STEPS, REQUESTS, ROWS = 5, 7, 41
EXPERIMENT = experiment_from_dict(
    {
        "model": {
            "name": "atrank",
            "hidden_dim": 8,
            "num_spaces": 2,
            "intermediate_dim": 8,
            "hidden_units": [8],
            "dropout": 0.3,
        }
        | {"ranking": ["dot", "dnn"]},
        "batching": {"batch_size": 64},
        "training": {"epochs": 3, "learning_rate": 0.01, "decay_at": [0.6], "l2": 1e-4, "average_from": 0.3},
    }
)


KINDS = ("float16", "float32", "float64", "int32", "int64")
TOTALED = ("int64", "float32")
"""What is counted, and what tables begin with."""
SENT = [-0.0, 1.5, -7.25, 2048.0]
"""What variables of all kinds hold on the chief."""


class Keep(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps all variables as they are after the last epoch."""

    def __init__(self, average: AverageWeights | None = None) -> None:
        super().__init__()
        self.average = average or AverageWeights()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        variables = [*self.model.trainable_variables, *self.model.optimizer.variables, *self.average.means]
        with self.average.put_aside():
            self.values = {f"{number} {v.name}": np.array(v) for number, v in enumerate(variables)}


class Stop(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the process within an epoch, as a kill would."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations > 2.5 * self.params["steps"]:
            raise InterruptedError


def requests(seed: int, *, weighed: bool) -> Any:
    """Batches of 7 requests of 5 candidates; `weighed` leaves some candidates out."""
    rng = np.random.default_rng(seed)
    shape = (STEPS, REQUESTS, 5)
    history, candidates = rng.integers(0, ROWS, (STEPS, REQUESTS, 3)), rng.integers(0, ROWS, shape)
    labels, weights = rng.random(shape) < 0.4, rng.random(shape) < (0.6 if weighed else 1)
    return (history, candidates), labels.astype("float32"), weights.astype("float32")


def train_small(case: str, workers: Workers) -> dict[str, Any]:
    """Each worker takes its rows of the same batches; in validation, whole batches, which do not divide evenly."""
    keras.utils.set_random_seed(1)
    items, bias = SparseEmbedding(ROWS, 6, name="items"), SparseEmbedding(ROWS, 1, name="bias")
    history, candidates = keras.Input((3,), dtype="int64"), keras.Input((5,), dtype="int64")
    user = keras.layers.Dense(6, name="user")(keras.ops.mean(items(history), axis=1))
    logits = keras.ops.einsum("bd,bnd->bn", user, items(candidates)) + bias(candidates)[..., 0]
    bias.embeddings.assign(np.linspace(-1, 1, ROWS)[:, np.newaxis])
    model = keras.Model((history, candidates), logits)
    loss = LOSSES.get(case, PointwiseCrossentropy)(scale=workers.scale)
    model.compile(OPTIMIZERS[case](workers), loss, weighted_metrics=[RequestAUC()])
    rows = tf.nest.map_structure(
        lambda array: array[:, workers.rank :: workers.number], requests(1, weighed=case != "l2")
    )
    average = AverageWeights(first=-1)  # As in a training that is resumed, of which only the chief has read the mean.
    average.set_model(model)
    for mean in average.means:
        mean.assign(mean.value + workers.rank)
    keep = Keep(average)
    history = model.fit(
        tf.data.Dataset.from_tensor_slices(rows).repeat(),
        steps_per_epoch=STEPS,
        epochs=3,
        validation_data=tf.data.Dataset.from_tensor_slices(requests(2, weighed=True)).shard(
            workers.number, workers.rank
        ),
        callbacks=[ApplyPendingDecay(), GlobalMetrics(workers), average, keep, BroadcastState(workers, average)],
        shuffle=False,
        verbose=0,
    ).history
    with average.put_aside():
        after = {f"after {n}": v.numpy() for n, v in enumerate(model.trainable_variables)}
    return {f"{case} {name}": value for name, value in (history | keep.values | after).items()}


class Begun(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of this worker as they are before the first step."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.values = {variable.path: np.array(variable) for variable in self.model.trainable_variables}


def train_in(folder: str, workers: Workers, what: str) -> dict[str, Any]:
    """Trains the records beside the folder; only the chief gets a folder that can be written, and one to begin with."""
    keep = Begun() if what == "warm" else Keep()
    writable = folder if workers.is_chief else f"/dev/null/{workers.rank}"
    train(
        Records(f"{folder}/../records"),
        EXPERIMENT,
        f"{writable}/model",
        warm_start_dir="" if what != "warm" else f"{writable}/../whole/model",
        callbacks=[keep, Stop()] if what == "stop" else [keep],
        workers=workers,
    )
    return keep.values if workers.is_chief else {}


def run_workers(what: str, folder: Path, number: int = 2) -> list[int]:
    """Runs this file in so many processes; returns their exit codes."""
    for _ in range(3):
        codes = _run_once(what, folder, number)
        # Who was kept from the processor for 10 seconds counts as dead: not our fault where there is too much to do.
        if "heartbeat timeout" not in _outputs(folder):
            break
        shutil.rmtree(folder / "model", ignore_errors=True)
    return codes


def _run_once(what: str, folder: Path, number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{found.getsockname()[1]}" for found in sockets]
    for found in sockets:
        found.close()
    processes = []
    folder.mkdir(exist_ok=True)
    for index in range(number):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
        with (folder / f"{index}.txt").open("w") as output:
            command = [sys.executable, __file__, what, str(folder)]
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    try:
        return [process.wait(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _outputs(folder: Path) -> str:
    return "\n".join(path.read_text()[-4000:] for path in sorted(folder.glob("?.txt")))


@pytest.mark.slow
@pytest.mark.parametrize("cases", ["l2", "decay,adagrad"])
def test_two_workers_train_what_one_would_have_trained(cases: str, tmp_path: Path) -> None:
    assert run_workers(cases, tmp_path) == [0, 0], _outputs(tmp_path)
    chief, other = (np.load(tmp_path / f"{index}.npz") for index in (0, 1))
    for case in cases.split(","):
        for name, expected in train_small(case, ALONE).items():
            # The loss of training is a mean of the means of batches, and two workers have other batches.
            if "_loss" in name or "loss" not in name or case == "l2":
                np.testing.assert_allclose(chief[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    for name in chief.files:
        if "val_" in name or "after" in name:
            np.testing.assert_array_equal(chief[name], other[name], err_msg=name)  # Bit for bit.
    for found in (chief, other):
        for kind in TOTALED:
            np.testing.assert_array_equal(found[f"total {kind}"], 3 * np.arange(14, dtype=kind).reshape(7, 2))
            assert found[f"total {kind}"].dtype == kind
        for kind in KINDS:
            assert found[kind].tobytes() == np.array(SENT).astype(kind).tobytes()  # Also the sign of -0.


@pytest.fixture(scope="module")
def together(records: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two workers have trained, and in which two others were stopped in their third epoch."""
    folder = tmp_path_factory.mktemp("together")
    shutil.copytree(records.path, folder / "records")
    assert run_workers("train", folder / "whole") == [0, 0], _outputs(folder / "whole")
    assert 0 not in run_workers("stop", folder / "stopped"), "Who has lost the chief must end."
    return folder


@pytest.mark.slow
def test_only_the_chief_writes(together: Path) -> None:
    found = {path.name for path in (together / "whole/model").iterdir()}
    assert found == {"model.keras", "values.npz", "schema.toml", "experiment.toml", "training.json", "tensorboard"}
    assert len(list((together / "whole/model/tensorboard").glob("train/*"))) == 1


@pytest.mark.slow
def test_validation_of_two_workers_has_the_losses_of_one(together: Path, records: Records) -> None:
    model = load(str(together / "whole/model"))
    model.compile()
    batches = model.evaluation_batches(records, "validation", settings=EXPERIMENT.batching)
    found = model.evaluate(batches, return_dict=True, verbose=0)
    kept = json.loads((together / "whole/model/training.json").read_text())
    (epoch,) = [each for each in kept["history"] if each["epoch"] == kept["best_epoch"]]
    for name in ("loss", *(f"{task}_{what}" for task in model.tasks for what in ("loss", "auc"))):
        assert epoch[f"val_{name}"] == pytest.approx(found[name], rel=1e-4), name


@pytest.mark.slow
def test_4_popularity_is_that_of_what_all_workers_train_on(
    together: Path, records: Records, chosen_popularity: Callable[..., Popularity]
) -> None:
    model = load(str(together / "whole/model"))
    for task in model.tasks:
        layer = model.get_layer(f"popularity_{task}")
        begins, counts = chosen_popularity(records, task)
        np.testing.assert_array_equal(layer.begins, begins)
        np.testing.assert_array_equal(layer.counts, counts)


@pytest.mark.slow
def test_8_workers_stopped_and_resumed_have_the_weights_of_never_stopped_ones(together: Path) -> None:
    shutil.copytree(together / "stopped", together / "resumed")
    assert run_workers("train", together / "resumed") == [0, 0], _outputs(together / "resumed")
    first, second = (np.load(together / name / "0.npz") for name in ("whole", "resumed"))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    first, second = ((together / name / "model/training.json").read_text() for name in ("whole", "resumed"))
    assert json.loads(first) == json.loads(second)


@pytest.mark.slow
def test_one_worker_goes_on_where_two_were_stopped(records: Records, together: Path) -> None:
    shutil.copytree(together / "stopped", together / "alone")
    keep = Keep()
    assert train(records, EXPERIMENT, str(together / "alone/model"), callbacks=[keep])
    found, whole = (
        json.loads((together / name / "model/training.json").read_text())["history"] for name in ("alone", "whole")
    )
    assert [epoch["epoch"] for epoch in found] == [0, 1, 2]
    assert found[0] == whole[0]
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.slow
def test_workers_begin_with_the_weights_that_the_chief_has_read(together: Path) -> None:
    assert run_workers("warm", together / "warm") == [0, 0], _outputs(together / "warm")
    begun = np.load(together / "warm/0.npz")
    for variable in load(str(together / "whole/model")).trainable_variables:
        np.testing.assert_array_equal(begun[variable.path], variable, err_msg=variable.path)


def test_without_tf_config_a_worker_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in ("", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'):
        monkeypatch.setenv("TF_CONFIG", config)
        workers = Workers.join()
        assert (workers.number, workers.rank, workers.is_chief) == (1, 0, True)
    assert workers.all_gather([3, 4]).tolist() == [[3, 4]]
    assert workers.broadcast(lambda: 5) == 5


@pytest.mark.parametrize(
    "config",
    [
        "not json",
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
    ],
)
def test_a_tf_config_of_another_form_is_refused(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="Expected TF_CONFIG as"):
        Workers.join()


def test_several_devices_of_one_worker_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strategy:
        num_replicas_in_sync = 4

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", Strategy)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(ValueError, match="one device for each of 2 workers"):
        Workers.join()


def test_a_worker_that_does_not_meet_the_others_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def strategy() -> None:
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", strategy)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}')
    match = r"Expected to meet the 2 workers that TF_CONFIG names\. Worker 1 failed: Could not start gRPC server"
    with pytest.raises(ConnectionError, match=match):
        Workers.join()


def test_a_worker_verifies_the_files_that_it_trains_on(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(Workers):
        number, rank = 2, 1

        def __init__(self) -> None:
            pass

        def broadcast(self, ask: Any) -> int:
            return 0

    def verify(share: Records) -> None:
        raise InterruptedError(share.share)

    monkeypatch.setattr(Records, "verify", verify)
    with pytest.raises(InterruptedError, match=r"\(1, 2\)"):
        train(records, EXPERIMENT, str(tmp_path), workers=Second())


def test_a_worker_without_any_batch_has_one_without_rows() -> None:
    batches = tf.data.Dataset.from_tensor_slices(np.ones((4, 3, 2), "float32"))
    for have in (0, 2, 4):
        shapes = [tuple(batch.shape) for batch in one_at_least(batches.take(have))]
        assert shapes == ([(3, 2)] * have or [(0, 2)])


def test_a_batch_without_rows_has_open_sizes_too() -> None:
    """Of a known size, 0, a sum of two parts of a score is taken for one with a bias."""
    batches = tf.data.Dataset.from_tensor_slices(np.ones((4, 2), "float32")).batch(3)
    assert batches.element_spec.shape == (None, 2)
    assert one_at_least(batches.take(0)).element_spec == batches.element_spec


def test_a_share_without_targets_is_refused() -> None:
    class Two(Workers):
        def __init__(self, said: Any) -> None:
            super().__init__()
            self.said = said

        def all_gather(self, counts: Any) -> Any:
            return np.array(self.said)

    assert agreed_steps([3, 9], Two([[3, 9], [4, 8]])) == [4, 9]
    with pytest.raises(ValueError, match="every task in the files of every worker"):
        agreed_steps([3, 9], Two([[3, 9], [4, 0]]))


if __name__ == "__main__":
    what, folder = sys.argv[1:]
    met = Workers.join()
    if OPTIMIZERS.keys() >= {*what.split(",")}:
        cases = [train_small(case, met) for case in what.split(",")]
        result = {name: value for case in cases for name, value in case.items()}
        workers._NUMBERS_AT_ONCE = 5  # Two rows and a half.
        for kind in KINDS:
            variable = tf.Variable(tf.cast((met.rank + 1) * tf.constant(SENT), kind))
            met.broadcast_variables([variable])
            result[kind] = variable.numpy()
        for kind in TOTALED:
            result[f"total {kind}"] = met.total((met.rank + 1) * np.arange(14, dtype=kind).reshape(7, 2))
    else:
        sparse_adam.WHOLE_UP_TO = 200  # As in the tests' own process.
        result = train_in(folder, met, what)
    np.savez(f"{folder}/{met.rank}.npz", **result)
