"""What one table says of users: who, when, with what, what they did; and what is asked. By tables of a few rows."""

import datetime

import numpy as np
import polars as pl

from atrank_tf.description.columns import Column
from atrank_tf.description.events import find_events
from atrank_tf.description.tables import Table

START = 1_704_067_200
DAY = 86_400


def table(file, columns):
    frame = pl.DataFrame(columns)
    return Table(file, {name: Column(name, frame[name], typed=True) for name in frame.columns}, {})


def behaviors(rows=400, seed=0):
    """Users with things: 20 and 50 of them, at moments of their own."""
    rng = np.random.default_rng(seed)
    return {
        "user_id": [f"u{user}" for user in rng.integers(0, 20, rows)],
        "sku": [f"s{item}" for item in rng.integers(0, 50, rows)],
        "timestamp": [int(second) for second in START + rng.integers(0, 90 * DAY, rows)],
    }


def asked(columns, *others):
    one = table("log.csv", columns)
    found = find_events(one, [one, *others])
    assert found is not None
    return " ".join(found.questions)


def test_a_log_that_says_everything_leaves_nothing_to_ask():
    assert asked(behaviors()) == ""


def test_a_moment_that_comes_later_is_not_when_it_was():
    log = behaviors()
    moments = log.pop("timestamp")
    log |= {"updated_at": [second + 7 * DAY for second in moments], "created_at": [DAY * (s // DAY) for s in moments]}
    one = table("log.csv", log)
    found = find_events(one, [one])
    assert found.time.name == "created_at"


def test_two_moments_on_different_days_are_asked_about_and_two_on_the_same_are_not():
    log = behaviors()
    assert asked(log | {"sent_date": [datetime.date.fromtimestamp(s + 3 * DAY) for s in log["timestamp"]]}) == (
        "When it was is read from timestamp. Or is it sent_date?"
    )
    assert (
        asked(log | {"sent_date": [datetime.datetime.fromtimestamp(s, datetime.UTC) for s in log["timestamp"]]}) == ""
    )


def test_a_day_beside_a_time_of_day_is_asked_about():
    log = behaviors()
    log["date"] = [datetime.datetime.fromtimestamp(s, datetime.UTC).strftime("%Y-%m-%d") for s in log.pop("timestamp")]
    log["clock"] = [f"{number % 24}:{number % 60:02d}" for number in range(400)]
    assert "clock is not read" in asked(log)


def test_users_that_are_missing_are_asked_about_and_a_visitor_is_less_than_a_customer():
    log = behaviors()
    log["visitor_id"] = [f"{user}{number % 3}" for number, user in enumerate(log["user_id"])]
    log["browser_id"] = [f"b{number % 90}" for number in range(400)]  # Each of many users: says less.
    log["user_id"] = [user if number % 4 else None for number, user in enumerate(log["user_id"])]
    one = table("log.csv", log)
    found = find_events(one, [one])
    assert found.user.name == "user_id"
    assert "25% of the rows have no user_id and are left out. visitor_id is in more rows." in found.questions


def test_a_number_of_its_own_for_each_row_is_neither_user_nor_object():
    log = behaviors()
    log["buyer_ref"], log["id"] = log.pop("user_id"), [f"r{number}" for number in range(400)]
    log["who"] = log.pop("buyer_ref")
    one = table("log.csv", log)
    found = find_events(one, [one])
    assert (found.user.name, found.object.name) == ("who", "sku")
    assert "No column is named as users are: who (20 values) is taken for them." in found.questions


def test_a_few_kinds_without_a_word_for_things_are_no_objects():
    log = behaviors()
    log["tier"] = [f"tier{number % 5}" for number, _ in enumerate(log.pop("sku"))]
    one = table("log.csv", log)
    assert find_events(one, [one]) is None


def test_another_column_of_ids_of_a_catalog_is_asked_about():
    log = behaviors()
    log["store_id"] = [f"store{number % 30}" for number in range(400)]
    stores = table("stores.csv", {"store_id": [f"store{number}" for number in range(30)], "town": ["a", "b", "c"] * 10})
    items = table("items.csv", {"sku": [f"s{number}" for number in range(50)], "color": ["red", "blue"] * 25})
    assert asked(log, stores, items) == "The objects are taken to be sku (50 values). Or are they store_id (30)?"


def test_what_is_the_same_in_all_rows_of_a_user_is_neither_object_nor_action():
    log = behaviors()
    log["email"] = [f"{user}@x.org" for user in log["user_id"]]
    log["branch_id"] = [f"b{user[1:]}" for user in log["user_id"]]
    log["gender"] = ["f" if int(user[1:]) % 2 else "m" for user in log["user_id"]]
    branches = table("branches.csv", {"branch_id": [f"b{n}" for n in range(20)], "town": ["a", "b"] * 10})
    found = find_events(one := table("log.csv", log), [one, branches])
    assert (found.user.name, found.object.name, found.questions) == ("user_id", "sku", ())


def test_of_a_dish_and_its_restaurant_the_dish_was_chosen():
    log = behaviors()
    log["dish_id"] = log.pop("sku")
    log["restaurant_id"] = [f"r{int(dish[1:]) % 25}" for dish in log["dish_id"]]
    dishes = table("dishes.csv", {"dish_id": [f"s{n}" for n in range(50)], "kind": ["a", "b"] * 25})
    places = table("restaurants.csv", {"restaurant_id": [f"r{n}" for n in range(25)], "town": ["a"] * 24 + ["b"]})
    assert (
        asked(log, dishes, places) == "The objects are taken to be dish_id (50 values). Or are they restaurant_id (25)?"
    )


def test_a_text_is_an_object_before_a_number_without_a_word_for_it():
    log = behaviors()
    log["search_term"], log["results"] = log.pop("sku"), [*range(400)]
    log["results"] = [number % 200 for number in range(400)]
    assert asked(log) == "The objects are taken to be search_term (50 values). Or are they results (200)?"


def test_of_moments_that_differ_as_much_the_earliest_is_when_it_was():
    log = behaviors()
    log["taken"] = log.pop("timestamp")
    log["handed_back"] = [second + 9 * DAY for second in log["taken"]]
    log["came_in"] = [1_000 * second + 500 for second in log["taken"]]
    one = table("log.csv", log)
    assert find_events(one, [one]).time.name == "taken"


def test_amounts_below_zero_are_asked_about():
    log = behaviors() | {"quantity": [-1 if number % 50 == 0 else 2 for number in range(400)]}
    assert (
        asked(log) == "In 2.0% of the rows quantity is below 0. If they take something back, leave them out of the log."
    )


def test_days_of_a_spreadsheet_are_asked_about():
    log = behaviors()
    log["order_date"] = [45_000 + number % 300 for number, _ in enumerate(log.pop("timestamp"))]
    assert "Most of order_date is yet to come. Are they days of a spreadsheet" in asked(log)


def test_few_users_are_asked_about():
    log = behaviors()
    log["user_agent"] = [f"a{number % 7}" for number, _ in enumerate(log.pop("user_id"))]
    assert "user_agent has 7 values. Are they who acted?" in asked(log)


def test_many_kinds_in_a_column_that_is_named_as_actions_are_asked_about():
    log = behaviors() | {"event_type": [f"kind{number % 40}" for number in range(400)]}
    assert "Is event_type (kind" in asked(log) and ", ...) the kind of behavior?" in asked(log)
