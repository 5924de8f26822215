"""How every `python -m atrank_tf.<command>` starts: flags in, one clear line out when they are wrong."""

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from atrank_tf.paths import check_scheme

_REASONS = {os.strerror(number) for number in errno.errorcode}


def run(
    main: Callable[..., None],
    check: Callable[[], None] = lambda: None,
    before_devices: Callable[[], None] = lambda: None,
    passes_on: Callable[[], bool] = lambda: False,
) -> None:
    """Parses the absl flags, looks at files, runs `main()` and turns a person's mistakes into one line and exit code 1.

    A wrong flag, a wrong value (`ValueError`), a file that cannot be read or written (`OSError`, or what TensorFlow
    has to say of files) or a missing extra (`ImportError`) prints `<command>: <what was wrong>` to stderr.
    `--verbosity=1` shows the traceback as well. Anything else is a bug of this package and keeps its traceback.

    Args:
        main: the command. It finds the flags parsed, TensorFlow imported and its devices set up.
        check: looks at what the flags name, before anything heavy is imported: whoever misspelt a path is told at once.
            Defaults to nothing.
        before_devices: what must happen between TensorFlow's import and its devices. Defaults to nothing.
        passes_on: whether flags that this command does not have are somebody else's, and are `main`'s arguments. It is
            asked before the flags count as parsed: `flags.FLAGS[name].value`. Defaults to no.
    """
    app.run(lambda argv: _guarded(main, argv), flags_parser=lambda argv: _start(argv, check, before_devices, passes_on))


def check_paths(*path_flags: Any, stores: bool = False) -> None:
    """Has a command refuse, before it does anything, a path in an object store that it cannot read or write.

    Args:
        path_flags: flags that are paths, as `flags.DEFINE_string` returns them.
        stores: as `check_scheme` has it.
    """

    def check(path: str | None) -> bool:
        try:
            check_scheme(path or "", stores=stores)
        except ValueError as error:
            raise flags.ValidationError(str(error)) from error
        return True

    for flag in path_flags:
        flags.register_validator(flag, check)  # type: ignore[no-untyped-call]


def check_records(path: str) -> None:
    """Raises FileNotFoundError unless there may be a records folder; in an object store nothing is looked at."""
    if "://" not in path and not Path(path).is_dir():
        raise FileNotFoundError(
            f"Expected a records folder at {path}. Found none. Make records with python -m atrank_tf.prepare."
        )


def check_model(path: str) -> None:
    """Raises FileNotFoundError unless there may be a trained model; in an object store nothing is looked at."""
    if "://" not in path and not Path(path, "model.keras").is_file():
        raise FileNotFoundError(
            f"Expected a trained model at {path}/model.keras. Found none: run `python -m atrank_tf.train`."
        )


@contextmanager
def quiet_start() -> Iterator[None]:
    """Holds back what is written to stderr meanwhile, and shows it only if the start fails.

    TensorFlow writes its notes on processor and devices from C++, before any log level is read, so the file descriptor
    itself is turned away.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(original, notes.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _start(
    argv: Sequence[str], check: Callable[[], None], before_devices: Callable[[], None], passes_on: Callable[[], bool]
) -> list[str]:
    rest = _parse(argv, passes_on)
    try:
        check()
    except (ValueError, OSError, ImportError) as error:
        _fail(argv[0], error)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Somebody's own setting wins.
    with quiet_start():
        import tensorflow as tf  # Seconds, which a wrong flag need not wait for.

        tf.get_logger().setLevel("ERROR")
        try:
            before_devices()
        except (ValueError, OSError) as error:
            _fail(argv[0], error)
        tf.config.list_logical_devices()  # Otherwise `main` finds the devices, and TensorFlow tells of each.
    return rest


def _parse(argv: Sequence[str], passes_on: Callable[[], bool]) -> list[str]:
    try:
        try:
            rest = list(flags.FLAGS(list(argv)))
        except flags.UnrecognizedFlagError:
            if not passes_on():
                raise
            rest = list(flags.FLAGS(list(argv), known_only=True))
    except flags.Error as error:
        _fail(argv[0], error)
    if flags.FLAGS["verbosity"].using_default_value:  # Else `app.run` takes INFO: a line for every file written.
        flags.FLAGS["verbosity"].value = logging.WARNING
        flags.FLAGS["verbosity"].using_default_value = False
    for word in rest[1:]:
        if not word.startswith("-"):
            _fail(argv[0], ValueError(f"Expected flags only (--name=value). Received: {word!r}."))
    return rest


def _guarded(main: Callable[..., None], argv: Sequence[str]) -> None:
    import tensorflow as tf

    try:
        main(*argv[1:])
    except (ValueError, OSError, ImportError, tf.errors.OpError) as error:
        known = _of_a_file(error) if isinstance(error, tf.errors.OpError) else error
        if known is None or logging.get_verbosity() >= logging.DEBUG:
            raise
        _fail(argv[0], known)
    except KeyboardInterrupt:
        sys.exit(130)


def _of_a_file(error: Any) -> OSError | None:
    """TensorFlow's error of an operation that is about a file; None for any other, which is a bug."""
    import tensorflow as tf

    if isinstance(error, tf.errors.DataLossError):
        found = re.search(r"\w+ record at \d+", error.message)
        return OSError(
            f"A TFRecord file was damaged while it was read ({found[0] if found else 'no place known'}). Run the same "
            "command again, which names it; if nothing is wrong then, suspect the memory or the disk."
        )
    if (store := store_error(error)) is not None:
        return store
    path, _, reason = error.message.rpartition("; ")
    if reason in _REASONS:
        return OSError(f"Expected a file or folder that can be read and written: {path}. {reason}.")
    if error.message.endswith(" is not a directory"):
        return OSError(f"Expected a folder that can be written: {error.message}.")
    return None


def store_error(error: Any) -> OSError | None:
    """Returns what TensorFlow has to say of an object store, as an `OSError`; None for an error of something else."""
    found = re.search(r"gs://\S*", error.message)
    if found is None:
        return None
    return OSError(
        f"Expected a store that answers, for {found[0]}. {error.message.rstrip('.')}. Run the same command again when "
        "it does."
    )


def _fail(program: str, error: Exception) -> None:
    name = program.rsplit("/", 1)[-1].removesuffix(".py")
    message = " ".join(str(error).split())
    sys.stderr.write(f"{name}: {message}\n")
    sys.exit(1)
