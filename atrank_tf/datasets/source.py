"""Public data, as `prepare --logs=NAME` and the TensorFlow Datasets builders know it: raw files -> logs folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import tensorflow_datasets as tfds

from atrank_tf.files import whole_folder

RawFiles = Mapping[str, Path]
"""Name of a raw file -> where it is."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What logs are made of, and how.

    Args:
        about: what the data is, and on what terms it is published.
        page: where a person finds it.
        citation: BibTeX of the paper that asks to be cited; may be empty.
        schema: file of the schema that fits the logs.
        logs: raw files -> `<kind>/<name>` -> rows, as `atrank_tf.preparation.logs` says; lazy where the data is large.
        files: names of the raw files; empty if `logs` finds its data by itself.
        url: what stands before a file's name where a program may download it; empty if only a person may.
    """

    about: str
    page: str
    schema: str
    logs: Callable[[RawFiles], Mapping[str, pl.LazyFrame]]
    citation: str = ""
    files: tuple[str, ...] = ()
    url: str = ""

    def raw_files(self, folder: Path | None, download: Callable[[dict[str, str]], Mapping[str, Path]]) -> RawFiles:
        """Finds the raw files, and downloads those that are missing.

        Args:
            folder: where a person has put some or all of them; None where there is no such folder.
            download: a function, name -> URL to name -> path, as `tfds.download.DownloadManager.download`.

        Raises:
            FileNotFoundError: a file is missing, and only a person may download it.
        """
        found = {name: folder / name for name in self.files if folder and (folder / name).exists()}
        missing = [name for name in self.files if name not in found]
        if missing and not self.url:
            raise FileNotFoundError(
                f"Expected {', '.join(missing)} in the folder of raw files, {folder or 'which was not given'} (--raw; "
                f"manual_dir of TensorFlow Datasets). Found none. Download from {self.page} and unpack it there."
            )
        if missing:
            fetched = download({name: self.url + name for name in missing})
            found |= {name: Path(path) for name, path in fetched.items()}
        return found


def download(urls: Mapping[str, str], folder: Path) -> Mapping[str, Path]:
    """Downloads files into a folder, under names of its own; what is there already is not downloaded again.

    Args:
        urls: name -> URL.
        folder: the folder; made if missing.

    Returns:
        Name -> path.
    """
    found: Mapping[str, Path] = tfds.download.DownloadManager(download_dir=folder).download(dict(urls))
    return found


def write_logs(logs: Mapping[str, pl.LazyFrame], folder: str) -> None:
    """Writes a logs folder; it appears whole or not at all.

    Args:
        logs: `<kind>/<name>` -> rows, which are streamed to Parquet files.
        folder: the folder.

    Raises:
        FileExistsError: there is something at `folder`.
        ValueError: a raw file is not what it should be.
    """
    with whole_folder(folder) as partial:
        for name, frame in logs.items():
            path = partial / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            try:
                with path.open("wb") as file:  # A path polars may still create while the failed folder is removed.
                    frame.sink_parquet(file)
            except pl.exceptions.PolarsError as error:
                reason = str(error).split("\n", 1)[0].rstrip(".")
                raise ValueError(f"{name} cannot be made from the raw files: {reason}.") from error
