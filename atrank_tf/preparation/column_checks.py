"""What must be known of a whole file before its first row can be cleaned; gathered part by part.

Whether the ids of a file are integers, whether a row of it is refused, how many rows are dropped: each is a question
"for which rows does this hold?", and "how many, and which is the first?" is all of the answer that is needed. Answers
about the parts of a file add up to the answers about the file, so the parts may be read anywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl


class Fact(NamedTuple):
    """Where something holds: in how many rows, and the first of them (None if in none)."""

    rows: int
    first: int | None


@dataclass(frozen=True)
class Facts:
    """The answers about a file, or about a part of it.

    Args:
        answers: question -> where it holds.
        unknown_actions: the most frequent actions that the schema does not name, with their rows.
    """

    answers: Mapping[str, Fact]
    unknown_actions: tuple[tuple[str, int], ...] = ()

    def __getitem__(self, question: str) -> Fact:
        return self.answers.get(question, Fact(0, None))


def gather(frame: pl.LazyFrame, questions: Mapping[str, pl.Expr]) -> Facts:
    """Reads a frame once and answers all questions.

    Args:
        frame: has a column `row`.
        questions: name -> bool for each row; null is no.
    """
    # In a column each: a question that stands in two expressions is asked twice.
    asked = frame.select(pl.col("row").cast(pl.Int64).alias("\nrow"), **questions)
    counted = [pl.col(question).sum().cast(pl.Int64).alias(f"{question}\n") for question in questions]
    firsts = [pl.when(pl.col(question)).then(pl.col("\nrow")).min().alias(question) for question in questions]
    found = asked.select(*counted, *firsts).collect(engine="streaming").row(0, named=True)
    return Facts({question: Fact(found[f"{question}\n"], found[question]) for question in questions})


def together(parts: Iterable[Facts]) -> Facts:
    """Returns the facts about a whole, of facts about its parts in any order."""
    answers: dict[str, Fact] = {}
    for part in parts:
        for question, more in part.answers.items():
            known = answers.get(question, Fact(0, None))
            firsts = [first for first in (known.first, more.first) if first is not None]
            answers[question] = Fact(known.rows + more.rows, min(firsts, default=None))
    return Facts(answers)
