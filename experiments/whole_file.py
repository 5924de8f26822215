"""A file that a kill leaves as it was, or whole: text is written aside and takes its place."""

from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Writes a text file."""
    aside = path.with_suffix(f"{path.suffix}.partial")
    aside.write_text(text)
    aside.rename(path)
