"""Runs what `python -m MODULE FLAGS...`, `python FILE FLAGS...` or `python -c CODE FLAGS...` would, in child processes.

TensorFlow's import is most of what a wrong flag costs. Here it is done once: everything is imported, nothing is run,
and a child begins at once. Each line of standard input is a JSON list: file for what the child prints, file for its
errors, what is added to its environment, and its arguments; its exit code is the answer.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import atrank_tf.data
import atrank_tf.datasets
import atrank_tf.evaluation
import atrank_tf.explanation
import atrank_tf.saved_model
import atrank_tf.server
import atrank_tf.training  # noqa: F401


def run(first: str, *rest: str) -> int:
    """Runs one command; returns its exit code."""
    try:
        if first == "-m":
            sys.argv = list(rest)
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [first, *rest]
            sys.path.insert(0, str(Path(first).resolve().parent))
            runpy.run_path(first, run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    for line in sys.stdin:
        out, err, environment, *arguments = json.loads(line)
        child = os.fork()
        if not child:
            for place, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), place)
            os.environ.update(environment)
            code = run(*arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        sys.__stdout__.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    main()
