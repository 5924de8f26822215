"""What LightGBM reaches on the simulated hotel lists with 33 numbers made by hand.

python experiments/hotel_lightgbm.py logs/hotels test.parquet by_hand.parquet      (extra `experiments`; a minute)

The first file has the requests of `evaluate --scores`, the second gets LightGBM's scores of them, for
`evaluate --against`. Trained on the lists before validation, stopped by those of validation.
"""

import sys
from datetime import UTC, datetime

import lightgbm
import polars as pl

VALIDATION, TEST = (int(datetime(2024, 1, day, tzinfo=UTC).timestamp()) for day in (25, 28))
PARAMETERS = {
    **{"objective": "lambdarank", "metric": "ndcg", "eval_at": [1], "learning_rate": 0.05, "num_leaves": 31},
    **{"min_data_in_leaf": 100, "feature_fraction": 0.8, "verbose": -1, "seed": 1, "deterministic": True},
}
LIST = ["user_id", "timestamp"]
CANDIDATE = [*LIST, "hotel_id"]


def numbers(logs: str) -> pl.DataFrame:
    """Returns what was shown, sorted by list, with the numbers of each candidate in the columns `n_...`."""
    shown = _shown(logs)
    looks = pl.concat([pl.read_parquet(f"{logs}/behaviors/{name}.parquet") for name in ("look", "click")])
    shown = shown.join(_looks(shown, looks), on=CANDIDATE, how="left").join(_past(shown), on=CANDIDATE, how="left")
    last = pl.col("n_since_look").is_not_null() & (pl.col("n_since_look") == pl.col("n_since_look").min().over(LIST))
    place_of_last = pl.when(last).then("n_position").min().over(LIST)
    price, rating = pl.col("n_price"), pl.col("n_rating")
    shown = shown.with_columns(
        n_is_last=last.cast(pl.Int8),
        n_below_last=pl.col("n_position") - place_of_last.max().over(LIST),
        n_look_rank=pl.col("n_since_look").rank().over(LIST),
        n_share_of_looks=pl.col("n_looks") / pl.col("n_looks").sum().over(LIST),
        n_looked_at=(pl.col("n_looks") > 0).sum().over(LIST),
        n_price_rank=price.rank().over(LIST),
        n_price_ratio=price / price.median().over(LIST),
        n_price_over_last=price / pl.when(last).then(price).max().over(LIST),
        n_price_over_looked=price / pl.when(pl.col("n_looks") > 0).then(price).mean().over(LIST),
        n_cheapest=(price == price.min().over(LIST)).cast(pl.Int8),
        n_rating_rank=rating.rank(descending=True).over(LIST),
        n_rating_less_mean=rating - rating.mean().over(LIST),
        n_rating_less_looked=rating - pl.when(pl.col("n_looks") > 0).then(rating).mean().over(LIST),
        n_stars_less_mean=pl.col("n_stars") - pl.col("n_stars").mean().over(LIST),
        n_stars_less_looked=pl.col("n_stars") - pl.when(pl.col("n_looks") > 0).then("n_stars").mean().over(LIST),
        n_price_for_stars=price / price.mean().over([*LIST, "n_stars"]),
        n_looks_of_list=pl.col("n_looks").sum().over(LIST),
        n_length=pl.len().over(LIST),
    )
    return shown.sort("timestamp", "user_id", "n_position")


def _shown(logs: str) -> pl.DataFrame:
    shown = pl.read_parquet(f"{logs}/impressions/next_click.parquet")
    hotels = pl.read_parquet(f"{logs}/catalog/hotel.parquet").with_columns(
        pl.col("stars").str.extract(r"(\d)").cast(pl.Int64)
    )
    renamed = {"position": "n_position", "price": "n_price", "rating": "n_rating", "stars": "n_stars"}
    return shown.join(hotels, on="hotel_id").rename(renamed).drop("request_id", "city")


def _looks(shown: pl.DataFrame, looks: pl.DataFrame) -> pl.DataFrame:
    """Returns what the user of a list did before with each of its candidates."""
    done = shown.select(CANDIDATE).join(looks.rename({"timestamp": "then"}), on=["user_id", "hotel_id"])
    done = done.filter(pl.col("then") < pl.col("timestamp"))
    age = pl.col("timestamp") - pl.col("then")
    of_action = {f"n_{name}": (pl.col("action") == name).sum() for name in ("image", "info", "deal", "click")}
    return done.group_by(CANDIDATE).agg(n_looks=pl.len(), n_since_look=age.min(), n_since_first=age.max(), **of_action)


def _past(shown: pl.DataFrame) -> pl.DataFrame:
    """Returns how often each candidate was shown and clicked before, by anyone."""
    one = shown.select(*CANDIDATE, "label", "n_position").sort("timestamp")
    so_far = {name: pl.col(name).cum_sum().over("hotel_id") for name in ("label", "n_position")}
    past = one.with_columns(shown=pl.int_range(1, pl.len() + 1).over("hotel_id"), **so_far)
    # Of several lists in one second the last says what there was, and all of them take what was before it.
    past = past.group_by("hotel_id", "timestamp").agg(pl.col("shown", "label", "n_position").max())
    past = past.sort("timestamp").with_columns(
        pl.col("shown", "label", "n_position").shift(1).over("hotel_id").fill_null(0)
    )
    past = past.select(
        "hotel_id",
        "timestamp",
        n_times_shown="shown",
        n_times_clicked="label",
        n_click_rate=(pl.col("label") + 1) / (pl.col("shown") + 25),
        n_mean_position=pl.col("n_position") / pl.col("shown"),
    )
    return shown.select(CANDIDATE).join(past, on=["hotel_id", "timestamp"], how="left")


def main(logs: str, asked: str, scored: str) -> None:
    """Trains on the lists before validation, and scores the requests of a file of `evaluate`."""
    made = numbers(logs)
    columns = [name for name in made.columns if name.startswith("n_")]

    def lists(part: pl.Expr) -> lightgbm.Dataset:
        rows = made.filter(part)
        sizes = rows.group_by(LIST, maintain_order=True).len()["len"].to_numpy()
        return lightgbm.Dataset(rows.select(columns).to_numpy(), rows["label"].to_numpy(), group=sizes)

    training = lists(pl.col("timestamp") < VALIDATION)
    validation = lists(pl.col("timestamp").is_between(VALIDATION, TEST, closed="left"))
    stop = lightgbm.early_stopping(50, verbose=False)
    trees = lightgbm.train(PARAMETERS, training, 600, [validation], callbacks=[stop])
    scores = made.select(*CANDIDATE, score=trees.predict(made.select(columns).to_numpy()))
    requests = pl.read_parquet(asked)
    keys = {"user_id": pl.String, "timestamp": pl.Int64, "hotel_id": pl.String}
    scores = scores.with_columns(pl.col(name).cast(kind) for name, kind in keys.items())
    found = requests.drop("score").join(
        scores, left_on=[*LIST, "candidate"], right_on=CANDIDATE, how="left", maintain_order="left"
    )
    if len(found) != len(requests) or found["score"].null_count():
        raise ValueError(f"Expected the requests of {asked} to be lists of {logs}, each of another second.")
    found.write_parquet(scored)
    gains = sorted(zip(trees.feature_importance("gain"), columns, strict=True), reverse=True)
    sys.stdout.write(
        f"{trees.best_iteration} trees, {len(columns)} numbers; by most gain {[n for _, n in gains[:5]]}\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
