"""How every `python -m atrank_tf.<command>` starts: flags in, one clear line out when they are wrong."""

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from atrank_tf.paths import check_scheme, in_store
from atrank_tf.stores import StoreCopy, temporary_folder

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
    with ExitStack() as until_the_end:

        def start(argv: Sequence[str]) -> list[str]:
            return _start(argv, until_the_end, check, before_devices, passes_on)

        app.run(lambda argv: _guarded(main, argv), flags_parser=start)


@dataclass(frozen=True, kw_only=True)
class _InStore:
    """A flag whose path may be in an object store; of what is written there the rest is as `StoreCopy` has it."""

    flag: Any
    contents: str = ".*"
    last: Sequence[str] = ()
    unfinished: bytes = b""
    writes: bool = True
    needed: bool = True


_in_stores: list[_InStore] = []
_copies: list[tuple[_InStore, StoreCopy]] = []
"""What is in a store, and its copy, which the command takes for it."""


def reads(*path_flags: Any, contents: str = ".*") -> None:
    """Lets paths of a command be in an object store: it finds a copy of what is there.

    Args:
        path_flags: flags that are paths, as `flags.DEFINE_string` returns them.
        contents: as `StoreCopy` has it.
    """
    check_paths(*path_flags, stores=True)
    _in_stores.extend(_InStore(flag=flag, contents=contents, writes=False) for flag in path_flags)


def reads_records(path_flag: Any) -> None:
    """Lets records of a command be in an object store; what only the next `prepare` reads of them is not copied."""
    reads(path_flag, contents=r"(?!state/).*")


def writes(
    path_flag: Any,
    *,
    last: Sequence[str] = (),
    contents: str = ".*",
    unfinished: bytes = b"",
    needed: bool = True,
) -> None:
    """Lets a path that a command writes to be in an object store: its copy is written back when the command ends.

    Args:
        path_flag: a flag that is a path, as `flags.DEFINE_string` returns it.
        last: as `StoreCopy.put` has it.
        contents: as `StoreCopy` has it.
        unfinished: as `StoreCopy.put` has it.
        needed: whether the command fails if this cannot be written.
    """
    check_paths(path_flag, stores=True)
    _in_stores.append(_InStore(flag=path_flag, last=last, contents=contents, unfinished=unfinished, needed=needed))


def write_stores() -> None:
    """Writes what has changed so far to its store.

    Raises:
        OSError: a store cannot be written.
    """
    for place, copy in _copies:
        if place.writes:
            try:
                copy.put(last=place.last, unfinished=place.unfinished)
            except OSError as error:
                if place.needed:
                    raise
                logging.warning("%s", error)


def copies() -> list[Path]:
    """Returns the folders in which copies of what is in stores are, each at `<scheme>/<bucket>/...`."""
    return [copy.root for _, copy in _copies]


def named(text: str) -> str:
    """Returns a text with the names that copies have in their stores."""
    for _, copy in _copies:
        text = text.replace(str(copy.path), copy.url)
    return text


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
    """Raises FileNotFoundError unless there may be a records folder."""
    if not Path(path).is_dir():
        raise FileNotFoundError(
            f"Expected a records folder at {path}. Found none. Make records with python -m atrank_tf.prepare."
        )


def check_model(path: str) -> None:
    """Raises FileNotFoundError unless there may be a trained model."""
    if not Path(path, "model.keras").is_file():
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
    argv: Sequence[str],
    until_the_end: ExitStack,
    check: Callable[[], None],
    before_devices: Callable[[], None],
    passes_on: Callable[[], bool],
) -> list[str]:
    rest = _parse(argv, passes_on)
    try:
        _copy_stores(until_the_end)
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


def _copy_stores(until_the_end: ExitStack) -> None:
    """Copies what flags name in stores to this machine; from here on the flags are the copies, until the command ends.

    Whoever reads what the command says finds the store's names all the same.
    """
    places = [place for place in _in_stores if in_store(place.flag.value or "")]
    if not places:
        return
    until_the_end.callback(_copies.clear)
    until_the_end.enter_context(redirect_stdout(_Named(sys.stdout)))
    logging.get_absl_handler().python_handler.addFilter(_name_in_log)
    for place in places:
        folder = until_the_end.enter_context(temporary_folder())
        copy = StoreCopy(place.flag.value, folder, contents=place.contents, writable=place.writes and place.needed)
        _copies.append((place, copy))
        flags.FLAGS[place.flag.name].value = str(copy.path)


class _Named:
    """A stream that is written to in these names."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return int(self._stream.write(named(text)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _name_in_log(record: Any) -> bool:
    record.msg, record.args = named(record.getMessage()), ()
    return True


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
        _write_stores_or_keep()
    except (ValueError, OSError, ImportError, tf.errors.OpError) as error:
        known = _of_a_file(error) if isinstance(error, tf.errors.OpError) else error
        if known is None or logging.get_verbosity() >= logging.DEBUG:
            raise
        _fail(argv[0], known)
    except KeyboardInterrupt:
        sys.exit(130)


def _write_stores_or_keep() -> None:
    """Writes everything to its store; if one is lost, hours of work are not, and the error says where they are."""
    try:
        write_stores()
    except OSError as error:
        kept = Path(tempfile.mkdtemp(prefix="atrank_tf-kept-"))
        for place, copy in _copies:
            if place.writes and copy.path.exists():
                copy.path.rename(kept / copy.path.name)
        raise OSError(f"{error} What was to be written there is kept in {kept}.") from error


def _of_a_file(error: Any) -> OSError | None:
    """TensorFlow's error of an operation that is about a file; None for any other, which is a bug."""
    import tensorflow as tf

    if isinstance(error, tf.errors.DataLossError):
        found = re.search(r"\w+ record at \d+", error.message)
        return OSError(
            f"A TFRecord file was damaged while it was read ({found[0] if found else 'no place known'}). Run the same "
            "command again, which names it; if nothing is wrong then, suspect the memory or the disk."
        )
    path, _, reason = error.message.rpartition("; ")
    if reason in _REASONS:
        return OSError(f"Expected a file or folder that can be read and written: {path}. {reason}.")
    if error.message.endswith(" is not a directory"):
        return OSError(f"Expected a folder that can be written: {error.message}.")
    return None


def _fail(program: str, error: Exception) -> None:
    name = program.rsplit("/", 1)[-1].removesuffix(".py")
    message = " ".join(named(str(error)).split())
    sys.stderr.write(f"{name}: {message}\n")
    sys.exit(1)
