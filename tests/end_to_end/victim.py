"""Does one operation for each line of standard input, each time in a child process that somebody else may kill.

`python victim.py OPERATION ARGUMENTS...` prints `ready`; for each line (`full`: the disk is full) the child's process
id, and when it has ended, its exit status as `os.waitpid` gives it. Everything is imported before, nothing is run: so a
child begins at once.
"""

import os
import resource
import sys

from atrank_tf.data import IdMaps, Records
from atrank_tf.experiment import load_experiment
from atrank_tf.preparation import prepare
from atrank_tf.saved_model import export_model
from atrank_tf.schema import load_schema
from atrank_tf.server import ServedModel, ServerSettings, serve
from atrank_tf.training import VALUES_FILE, load, train

FILE_BYTES = {"prepare": 2_000, "train": 40_000, "export": 40_000}
"""Longest file that can be written where the disk is full: less than the longest that each writes."""


def do_prepare(logs: str, schema: str, records: str) -> None:
    prepare(logs, load_schema(schema), records, overwrite=True)


def do_train(records: str, experiment: str, model_dir: str) -> None:
    train(Records(records), load_experiment(experiment), model_dir)


def do_export(model_dir: str, export_dir: str) -> None:
    export_model(load(model_dir), IdMaps.load(f"{model_dir}/{VALUES_FILE}"), export_dir)


def do_serve(export_dir: str, port: str) -> None:
    serve(ServedModel("m", export_dir), ServerSettings(port=int(port)))


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(operation: str, *arguments: str) -> None:
    work = {"prepare": do_prepare, "train": do_train, "export": do_export, "serve": do_serve}[operation]
    say("ready")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.dup2(2, 1)
            try:
                if line.strip() == "full":
                    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES[operation], resource.RLIM_INFINITY))
                work(*arguments)
                os._exit(0)
            except BaseException as error:  # Told in one line: the limit of the full disk holds for stderr too.
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                sys.stderr.flush()
                os._exit(1)
        say(child)
        say(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
