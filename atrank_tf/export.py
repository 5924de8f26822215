"""`python -m atrank_tf.export`: a trained model -> the next version for TensorFlow Serving."""

import sys

from absl import flags

from atrank_tf import command

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of the trained model.", required=True)
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", None, "Folder of the model's versions, --model_base_path of the server.", required=True
)
_EXPLAIN = flags.DEFINE_bool("explain", False, "Add the signatures `explain`: attention and parts of the scores.")

command.reads(_MODEL_DIR)
command.writes(_EXPORT_DIR, last=("saved_model.pb",), contents="")


def check() -> None:
    """Looks for the model."""
    command.check_model(_MODEL_DIR.value)


def main() -> None:
    from atrank_tf.data import IdMaps
    from atrank_tf.saved_model import export_model
    from atrank_tf.training import VALUES_FILE, load, warn_if_unfinished

    model = load(_MODEL_DIR.value)
    warn_if_unfinished(_MODEL_DIR.value)
    values = IdMaps.load(f"{_MODEL_DIR.value}/{VALUES_FILE}")
    sys.stdout.write(f"{export_model(model, values, _EXPORT_DIR.value, explain=_EXPLAIN.value)}\n")


if __name__ == "__main__":
    command.run(main, check)
