"""Serves the newest version of a SavedModel under TensorFlow Serving's REST API.

python -m atrank_tf.serve --model_name=market --model_base_path=export/market
curl -d '{"inputs": {...}}' http://127.0.0.1:8501/v1/models/market:predict
"""

import sys

from absl import flags, logging

from atrank_tf import command

_MODEL_NAME = flags.DEFINE_string("model_name", "default", "Name of the model in URLs: /v1/models/NAME.")
_MODEL_BASE_PATH = flags.DEFINE_string(
    "model_base_path", None, "Folder of version folders (1, 2, ...); the largest number is served.", required=True
)
_REST_API_PORT = flags.DEFINE_integer(
    "rest_api_port", 8501, "TCP port; 0 takes a free one.", lower_bound=0, upper_bound=65535
)
_REST_API_HOST = flags.DEFINE_string(
    "rest_api_host", "127.0.0.1", "Address to bind. There is no access control: 0.0.0.0 lets anyone in."
)
_POLL_SECONDS = flags.DEFINE_float(
    "file_system_poll_wait_seconds", 1.0, "Seconds between two looks for a new version.", lower_bound=0.01
)


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    # Imported late: TensorFlow takes seconds, which --help and a wrong flag need not wait for.
    from atrank_tf.serving import ServedModel, serve

    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))  # Which version is served, and since when.
    serve(
        ServedModel(_MODEL_NAME.value, _MODEL_BASE_PATH.value),
        host=_REST_API_HOST.value,
        port=_REST_API_PORT.value,
        poll_seconds=_POLL_SECONDS.value,
        on_ready=_announce,
    )


def _announce(url: str) -> None:
    sys.stdout.write(f"Ready: {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    command.run(main)
