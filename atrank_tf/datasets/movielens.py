"""MovieLens 100K: 943 people's ratings of 1,682 movies, a small log of one kind of behavior.

| file | content |
|---|---|
| `behaviors/rating` | `user_id`, `movie_id`, `action` (the stars: "1" to "5"), `timestamp` |
| `catalog/movie` | `movie_id`, `title`, `year` of release, `genres` |
| `catalog/user` | `user_id`, `age`, `gender`, `occupation` |
"""

from pathlib import Path

import polars as pl

from atrank_tf.datasets.source import RawFiles, Source

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The genres, in the order of their columns in `u.item`."""
_ITEM = ("movie_id", "title", "released", "on_video", "page", *GENRES)


def movielens_100k_logs(raw: RawFiles) -> dict[str, pl.LazyFrame]:
    """Returns the logs of the data set: `<kind>/<name>` -> rows.

    Args:
        raw: has the publisher's `u.data`, `u.item` and `u.user`, which have no header.
    """
    rating = _rows(raw["u.data"], "\t", "user_id", "movie_id", "action", "timestamp")
    movie = _rows(raw["u.item"], "|", *_ITEM)
    user = _rows(raw["u.user"], "|", "user_id", "age", "gender", "occupation", "zip_code")
    marked = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES]
    return {
        "behaviors/rating": rating.with_columns(pl.col("timestamp").cast(pl.Int64)),
        "catalog/movie": movie.select(
            "movie_id", "title", year=pl.col("released").str.slice(-4), genres=pl.concat_list(marked).list.drop_nulls()
        ),
        "catalog/user": user.select("user_id", pl.col("age").cast(pl.Int64), "gender", "occupation"),
    }


def _rows(path: Path, separator: str, *columns: str) -> pl.LazyFrame:
    """Reads a file of texts; those in Latin-1, as titles are, too."""
    text = path.read_bytes().decode("latin-1").encode()
    schema = dict.fromkeys(columns, pl.String)
    return pl.scan_csv(text, has_header=False, schema=schema, separator=separator, quote_char=None)


MOVIELENS_100K = Source(
    about="MovieLens 100K: 100,000 ratings of 1,682 movies by 943 users of a web page, from September 1997 to April "
    "1998. Published by GroupLens for research; not to be passed on or used to earn money without their permission.",
    page="https://grouplens.org/datasets/movielens/100k/",
    citation="""@article{harper2015movielens,
  title={The MovieLens Datasets: History and Context},
  author={Harper, F. Maxwell and Konstan, Joseph A.},
  journal={ACM Transactions on Interactive Intelligent Systems},
  volume={5},
  number={4},
  year={2015}
}""",
    schema=str(Path(__file__).with_name("movielens_100k.schema.toml")),
    logs=movielens_100k_logs,
    files=("u.data", "u.item", "u.user"),
    url="https://files.grouplens.org/datasets/movielens/ml-100k/",
)
