"""Makes a logs folder of the raw files of a public data set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import tensorflow_datasets as tfds

from atrank_tf.files import whole_folder

RawFiles = Mapping[str, Path]
"""Name of a raw file -> its path."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A public data set: its raw files, how logs are made of them, and the schema of these logs.

    Args:
        about: description of the data and of the terms that it is published on.
        page: address of its page.
        schema: path of the schema file.
        logs: function from the raw files to `<kind>/<name>` -> rows, the files of a logs folder as
            `atrank_tf.preparation.logs` says; lazy where the data is large.
        citation: BibTeX of the paper to cite; may be empty.
        files: names of the raw files; empty if `logs` finds its data by itself.
        url: address in front of the raw files' names; empty if they must be downloaded by hand.
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
            folder: folder with some or all of the raw files, or None.
            download: function from name -> URL to name -> path, as `tfds.download.DownloadManager.download`.

        Returns:
            Name -> path.

        Raises:
            FileNotFoundError: a file is missing, and must be downloaded by hand.
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
    """Downloads files into a folder, under names made of their URLs; files that are there are not downloaded again.

    Args:
        urls: name -> URL.
        folder: the folder; made if missing.

    Returns:
        Name -> path.
    """
    found: Mapping[str, Path] = tfds.download.DownloadManager(download_dir=folder).download(dict(urls))
    return found


def write_logs(logs: Mapping[str, pl.LazyFrame], folder: str) -> None:
    """Writes a logs folder, whole or not at all.

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
