"""Any bytes as an experiment file: a ValueError that names the file, or an experiment that reads back to the same."""

import harness

with harness.watched():
    from atrank_tf.experiment import MODEL_CONFIGS, dump_experiment, load_experiment

FILE = harness.scratch() / "experiment.toml"
REST = """
tasks = ["next"]
hidden_dim = 8

[batching]
batch_size = 64
temperature = 2.0

[training]
loss = "pairwise"
decay_at = [0.5, 0.75]
task_weights = { next = 2 }
seed = 3
"""


def one(data: bytes) -> None:
    FILE.write_bytes(data)
    try:
        experiment = load_experiment(str(FILE))
    except ValueError as error:
        if str(FILE) not in str(error):
            raise
        return
    FILE.write_text(dump_experiment(experiment))
    if load_experiment(str(FILE)) != experiment:
        raise AssertionError(f"{experiment} reads back as another one")


if __name__ == "__main__":
    harness.main("experiment_toml", one, [f'[model]\nname = "{name}"{REST}'.encode() for name in MODEL_CONFIGS])
