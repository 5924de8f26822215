"""Folders as strangers have them: what is concluded of each table, and that what is written can be prepared."""

import datetime
import re
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atrank_tf.datasets import write_hotel_lists, write_market
from atrank_tf.description import describe, experiment_text, write_description
from atrank_tf.description.plans import Plan
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema, schema_from_dict
from atrank_tf.schema.affinity import affinity_channels

START = 1_704_067_200
DAY = 86_400


def folder(tmp_path, **tables):
    """Writes tables as CSV files, or as Parquet where a name ends so."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, table in tables.items():
        if name.endswith("_parquet"):
            table.write_parquet(logs / f"{name.removesuffix('_parquet')}.parquet")
        else:
            table.write_csv(logs / f"{name}.csv")
    return str(logs)


def read(logs):
    found = describe(logs)
    experiment_from_dict(tomllib.loads(found.experiment))
    return found, schema_from_dict(tomllib.loads(found.schema))


def iso(seconds):
    return [datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in seconds]


def shop(seed=0):
    """Views of things, each bought by some a day later, never twice; by customers with a country."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(40):
        for item in rng.permutation(30)[:20]:
            second = START + int(rng.integers(0, 60 * DAY))
            rows.append((second, "view", f"SKU{item:03d}", f"c{user}"))
            if rng.random() < 0.3:
                rows.append((second + DAY, "purchase", f"SKU{item:03d}", f"c{user}"))
    rows.sort()
    seconds, kinds, items, users = zip(*rows, strict=True)
    events = pl.DataFrame({"event_time": iso(seconds), "event_type": kinds, "sku": items, "customer": users})
    things = pl.DataFrame(
        {
            "sku": [f"SKU{item:03d}" for item in range(30)],
            "title": [f"A nice thing {item}" for item in range(30)],
            "tags": ["|".join(rng.choice(["red", "big", "new"], item % 2 + 1, replace=False)) for item in range(30)],
            "price": [float(2.0**item) for item in range(30)],
            "released": ["2023-05-01", "2023-06-01"] * 15,
        }
    )
    people = pl.DataFrame({"customer": [f"c{user}" for user in range(40)], "country": ["DE", "FR"] * 20})
    return {"events": events, "things": things, "people": people}


def test_a_shop_with_views_and_purchases(tmp_path):
    logs = folder(tmp_path, **shop())
    found, schema = read(logs)
    group = schema.groups["events"]
    assert group.columns == {"user_id": "customer", "action": "event_type", "timestamp": "event_time"}
    assert set(group.actions) == {"view", "purchase"}
    task = schema.tasks["next_purchase"]
    assert task.actions == ("purchase",)
    assert (task.negatives.history, task.negatives.exclude) == (24, "ever_chosen")
    entity = schema.entities[group.entity]
    assert (entity.id.column, entity.file) == ("sku", "things.csv")
    assert entity.features["tags"].separator == "|" and entity.features["tags"].max_values == 2
    assert entity.dense["price"].transform == "log"
    assert "title" not in entity.features and entity.name == "title"
    assert "# Left out: released: a timestamp" in found.schema
    assert set(schema.user.features) == {"country"}
    assert "correct_sampling = true" in found.experiment
    assert "id_dropout" not in found.experiment  # More than 15 behaviors teach each id.
    write_description(found, str(tmp_path / "out"))
    records = prepare(logs, load_schema(str(tmp_path / "out/schema.toml")), str(tmp_path / "records"))
    assert records.manifest["behaviors"]["events"] == len(shop()["events"])


def groceries():
    """Baskets of the same ten articles each week."""
    rows = [
        (f"{START // DAY + 7 * week + user % 5}", f"{user}", f"{(user * 3 + k) % 40}")
        for week in range(30)
        for user in range(30)
        for k in range(week % 3, 10)
    ]
    day, client, article = zip(*rows, strict=True)
    return pl.DataFrame({"day": [int(one) for one in day], "client": client, "article": article})


def test_groceries_come_back_and_days_are_read(tmp_path):
    found, schema = read(folder(tmp_path, lines=groceries()))
    assert schema.groups["lines"].timestamp_format == "day"
    assert schema.groups["lines"].actions == ("lines",)
    task = schema.tasks["next_lines"]
    assert (task.negatives.uniform, task.negatives.history, task.negatives.exclude) == (6, 3, "same_moment")
    assert schema.time.unit == "day"
    assert schema.split.kind == "by_time"
    assert "complete_journey.toml" in found.experiment and "average_from = 0.4" in found.experiment


def test_what_comes_back_is_learned_by_muon_in_fewer_epochs_unless_there_is_little(tmp_path, monkeypatch):
    logs = folder(tmp_path, lines=groceries())
    monkeypatch.setattr(Plan, "behaviors_per_object", 3.9)
    few = tomllib.loads(describe(logs).experiment)
    monkeypatch.setattr(experiment_text, "_SMALL", 100)
    monkeypatch.setattr(experiment_text, "_READ", {"adam": 70_000, "muon": 30_000})
    many = tomllib.loads(describe(logs).experiment)
    assert few["model"]["id_dropout"] == 0.5 and "id_dropout" not in many["model"]
    little, much = few["training"], many["training"]
    assert "optimizer" not in little and much["optimizer"] == "muon"
    assert little["epochs"] == 12 and much["epochs"] == round(30_000 / len(groceries()))


@pytest.mark.parametrize(("of_all", "of_each"), [(1_500, 50), (1_501, 100), (7_500, 250), (7_501, None)])
def test_an_epoch_draws_fewer_targets_of_a_user_only_if_they_are_enough_of_all(tmp_path, monkeypatch, of_all, of_each):
    """30 users, each of whom bought 270 articles."""
    monkeypatch.setattr(experiment_text, "_TARGETS", {"adam": 50})
    monkeypatch.setattr(experiment_text, "_TARGETS_OF_ALL", of_all)
    found, _ = read(folder(tmp_path, lines=groceries()))
    batching = tomllib.loads(found.experiment)["batching"]
    assert batching.get("targets_per_user") == of_each
    assert batching.get("negatives") == (3 if of_each else None)  # Fewer only where that is for more targets.


def films():
    """200 users, each of whom rates eight of 90 films, all in one hour."""
    rows = [
        (user, int(film), START + 3 * user * DAY + place * 60)
        for user in range(1, 201)
        for place, film in enumerate(np.random.default_rng(user).permutation(90)[:8])
    ]
    users, chosen, seconds = zip(*rows, strict=True)
    ratings = pl.DataFrame({"userId": users, "movieId": chosen, "rating": [3.5] * len(rows), "timestamp": seconds})
    movies = pl.DataFrame({"movieId": [*range(90)], "genres": ["Action|War", "War", "Action"] * 30})
    return {"ratings": ratings, "movies": movies}


AMAZON_SPORTS = tomllib.loads((Path(__file__).parents[2] / "experiments/amazon_sports_best.toml").read_text())


@pytest.mark.parametrize(
    ("behaviors", "per_object", "l2", "id_dropout"),
    [
        (29_502, 1.2, 3e-3, 0.5),
        (29_502, 2.4, 2e-3, 0.5),
        (99_020, 5.6, 9e-4, 0.5),
        (99_020, 14.9, 3e-4, 0.5),
        (99_020, 15, 3e-4, 0.2),
        (500_000, 5.6, 2e-4, 0.2),
        (5_000_000, 16.7, 2e-5, 0.2),
        (296_337, 16.1, AMAZON_SPORTS["training"]["l2"], AMAZON_SPORTS["model"]["id_dropout"]),
        (100_000, 59.5, 8e-5, 0.2),
    ],
)
def test_the_fewer_behaviors_an_object_has_the_more_l2_and_ids_dropped(
    tmp_path, monkeypatch, behaviors, per_object, l2, id_dropout
):
    """Amazon Sports has 16.1 of an object, so the rules give its file's."""
    monkeypatch.setattr(Plan, "behaviors", behaviors)
    monkeypatch.setattr(Plan, "behaviors_per_object", per_object)
    text = describe(folder(tmp_path, **films())).experiment
    found = tomllib.loads(text)
    assert (found["training"]["l2"], found["model"]["id_dropout"]) == (l2, id_dropout)
    assert f"# {per_object:.1f} behaviors of an object" in text
    assert ("half of the ids are dropped" in text) == (id_dropout == 0.5)
    assert found["model"]["dropout"] == AMAZON_SPORTS["model"]["dropout"]  # Not that of other small logs.


def test_behaviors_of_an_object_are_of_all_groups_that_have_it(tmp_path):
    films_seen = {f"{kind}s": films()["ratings"].drop("rating") for kind in ("view", "purchase")}
    text = describe(folder(tmp_path, **films_seen)).experiment
    assert f"# {2 * 1_600 / 90:.1f} behaviors of an object" in text


def test_ratings_of_films_chosen_once_are_split_by_user(tmp_path):
    """Everyone comes once, so a split by time would test users that nobody knows."""
    _, schema = read(folder(tmp_path, **films()))
    assert schema.split.kind == "leave_last_out"
    assert schema.tasks["next_ratings"].negatives.exclude == "ever_chosen"
    assert schema.groups["ratings"].columns == {"user_id": "userId"}


def test_ids_of_three_systems_are_entities_with_names_of_their_own(tmp_path):
    events = shop()["events"].select("event_time", "customer", "sku")
    ids = {"item_id": "web-", "item_code": "store-", "item_sku": "app-"}
    logs = {
        f"log_{name}": events.select("event_time", "customer", pl.concat_str(pl.lit(system), "sku").alias(name))
        for name, system in ids.items()
    }
    _, schema = read(folder(tmp_path, **logs))
    assert {entity.id.column for entity in schema.entities.values()} == set(ids)


def test_columns_of_any_name_get_names_that_a_model_can_have(tmp_path):
    tables = shop()
    things = tables["things"].rename({"sku": "SKU No.", "price": "Unit Price", "tags": "Tags__"})
    events = tables["events"].rename({"sku": "SKU No."})
    logs = folder(tmp_path, **{"2024 events": events, "things": things, "people": tables["people"]})
    _, schema = read(logs)
    entity = schema.entities[schema.groups["events"].entity]
    assert entity.id.column == "sku_no" and entity.columns == {"id": "SKU No."}
    assert entity.dense["unit_price"].column == "Unit Price" and entity.features["tags"].column == "Tags__"
    prepare(logs, schema, str(tmp_path / "records"))


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("clicked", ["yes", "no"], r"Rows where clicked is not yes are left out"),
        ("rating", [1, 3, 5], r"whatever its rating"),
        ("vorgang", ["gesehen", "gekauft"], r"Is vorgang \((gesehen|gekauft), \w+\) the kind of behavior"),
    ],
)
def test_what_rows_may_be_is_asked(tmp_path, name, values, match):
    tables = shop()
    rows = len(tables["events"])
    more = pl.Series(name, values * rows)[:rows]
    events = tables["events"].drop("event_type").with_columns(more)
    found, schema = read(folder(tmp_path, events=events, things=tables["things"]))
    assert any(re.search(match, question) for question in found.questions)
    assert schema.groups["events"].actions == (("yes",) if name == "clicked" else ("events",))


@pytest.mark.parametrize(("between", "asked"), [(",", True), (".", False), (", ", False)])
def test_prices_with_a_decimal_comma_are_asked_about(tmp_path, between, asked):
    tables = shop()
    prices = [f"{row % 5}{between}{row % 2}9" for row in range(len(tables["things"]))]
    things = tables["things"].with_columns(pl.Series("price", prices))
    found, _ = read(folder(tmp_path, events=tables["events"], things=things))
    assert any("price has values as 0,09" in each and "decimal comma" in each for each in found.questions) == asked


def test_lists_without_request_ids_or_a_log_of_choices(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(400):
        chosen = rng.integers(0, 6)
        for place, item in enumerate(rng.choice(40, 6, replace=False)):
            second = START * 1000 + number * 7_200_000
            facts = f"n{item}", place + 1, int(place == chosen), (place == chosen) * 9.5, ["phone", "desk"][number % 2]
            rows.append((f"r{number % 20}", second, *facts))
    names = ["reader", "shown_at", "news_id", "position", "clicked", "dwell", "device"]
    shown = pl.DataFrame(rows, schema=names, orient="row")
    news = pl.DataFrame({"id": [f"n{item}" for item in range(40)], "topic": ["a", "b"] * 20})
    logs = folder(tmp_path, seen_parquet=shown, news=news)
    found, schema = read(logs)
    task = schema.tasks["next_seen"]
    assert task.columns["request_id"] == task.columns["timestamp"] == "shown_at"
    assert task.timestamp_format == "millisecond" and task.position == "position"
    assert "dwell" not in task.context.dense, "known only after the click"
    assert task.of_request == ("device",) and set(task.context.features) == {"device"}
    group = schema.groups[task.group]
    assert group.file == "seen.parquet" and group.columns["action"] == "clicked"
    assert schema.entities[group.entity].id.column == "id"
    assert any("one time is taken for one" in question for question in found.questions)
    records = prepare(logs, schema, str(tmp_path / "records"))
    assert records.manifest["requests"]["next_seen"]["requests"] == 400


def test_what_a_catalog_says_of_ids_that_come_and_go_is_a_link(tmp_path):
    """Offers are new every day; each thing knows its offers, of which there are far more than others have values."""
    rng = np.random.default_rng(1)
    shown, bought = [], []
    for number in range(600):
        user, second = f"u{number % 30}", START + number * 7_200
        for item in rng.choice(40, 2, replace=False):
            bought.append((user, f"thing-{item}", second - 3_600))
        chosen = rng.integers(0, 5)
        for place in range(5):
            shown.append((number, user, second, f"offer-{number // 12}-{place}", int(place == chosen)))
    offers = pl.DataFrame({"offer_id": sorted({row[3] for row in shown})})
    offers = offers.with_columns(kind=pl.col("offer_id").str.slice(-1))
    ids = offers["offer_id"].to_list()
    things = pl.DataFrame(
        {
            "thing_id": [f"thing-{item}" for item in range(40)],
            "colour": ["red", "green", "blue", "black"] * 10,
            "offer_id": [ids[item : item + 24] for item in range(40)],
        }
    )
    logs = folder(
        tmp_path,
        shown_parquet=pl.DataFrame(shown, ["request_id", "user_id", "timestamp", "offer_id", "clicked"], orient="row"),
        bought_parquet=pl.DataFrame(bought, ["user_id", "thing_id", "timestamp"], orient="row"),
        offers_parquet=offers,
        things_parquet=things,
    )
    _, schema = read(logs)
    offer, thing = (schema.entities[name] for name in ("offer", "thing"))
    assert not offer.id.table
    link = thing.features["offer_id"]
    assert (schema.tables[link.table].dim, link.max_values) == (0, 24)
    (own,) = [feature for feature in offer.features.values() if feature.table == link.table]
    assert own.column == "offer_id"
    records = prepare(logs, schema, str(tmp_path / "records"))
    assert ("bought", link.table) in affinity_channels(records.schema, "next_shown")


def test_a_list_of_which_nothing_was_chosen_is_no_target_that_the_split_counts(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(400):  # A list each two hours, but nothing is chosen in the last ten days.
        chosen = rng.integers(0, 6) if number < 280 else None
        for place, item in enumerate(rng.choice(40, 6, replace=False)):
            rows.append((number, f"r{number % 20}", START + number * 7_200, f"n{item}", int(place == chosen)))
    names = ["request_id", "reader", "shown_at", "news_id", "clicked"]
    shown = pl.DataFrame(rows, schema=names, orient="row")
    found, schema = read(folder(tmp_path, seen_parquet=shown))
    (counted,) = re.findall(r"test: next_seen (\d+) / (\d+) / (\d+)\.", found.schema)
    assert counted == ("192", "48", "40")  # Cut at midnight; a day later validation would have less than a tenth.
    assert (schema.split.validation_from, schema.split.test_from) == (START + 16 * DAY, START + 20 * DAY)


def test_parts_are_one_table_and_what_does_not_fit_is_named(tmp_path):
    tables = shop()
    events = tables.pop("events")
    logs = folder(tmp_path, **tables, **{"log_2024-01": events[:500], "log_2024-02": events[500:]})
    pl.DataFrame({"sku": ["SKU001", "SKU002"] * 3, "word": [*"abcdef"]}).write_csv(f"{logs}/words.csv")
    pl.DataFrame({"x": [1, 2], "y": [0.5, 0.25]}).write_csv(f"{logs}/weather.csv")
    found, schema = read(logs)
    assert schema.groups["log"].file == "log*.csv"
    assert found.files["words.csv"].startswith("not read: several rows for each sku")
    assert found.files["weather.csv"].startswith("not read: no user, timestamp and object")


def test_facts_that_a_log_repeats_for_each_object_are_its_features(tmp_path):
    tables = shop()
    events = tables["events"].with_columns(brand=pl.col("sku").str.slice(-1))
    _, schema = read(folder(tmp_path, events=events))
    entity = schema.entities["sku"]
    assert entity.file == "events.csv" and set(entity.features) == {"brand"}


@pytest.mark.parametrize("name", ["hotel_lists", "market"])
def test_simulated_logs_are_read_as_their_own_schema_says(tmp_path, name):
    write = {"hotel_lists": write_hotel_lists, "market": write_market}[name]
    write(str(tmp_path / "logs"), users=600, seed=1)
    _, schema = read(str(tmp_path / "logs"))
    own = load_schema(f"atrank_tf/datasets/{name}.schema.toml")
    assert set(schema.groups) == set(own.groups)
    for group, known in own.groups.items():
        assert set(schema.groups[group].actions) == set(known.actions)
        assert schema.entities[schema.groups[group].entity].id.column == own.entities[known.entity].id.column
    assert {task: t.group for task, t in schema.tasks.items()} == {task: t.group for task, t in own.tasks.items()}
    assert all(task.candidates == "impressions" for task in schema.tasks.values())
    assert schema.split.kind == "by_time"
    for task, known_task in own.tasks.items():
        assert set(schema.tasks[task].context.dense) == set(known_task.context.dense)
        assert schema.tasks[task].position == known_task.position


@pytest.mark.parametrize(("behaviors", "small"), [(499_999, True), (500_000, False)])
def test_small_logs_are_trained_with_more_l2_and_dropout_and_averaged_weights(tmp_path, monkeypatch, behaviors, small):
    write_market(str(tmp_path / "logs"), users=60, seed=1)
    monkeypatch.setattr(Plan, "behaviors", behaviors)
    monkeypatch.setattr(Plan, "behaviors_per_object", 3.9)
    found = tomllib.loads(describe(str(tmp_path / "logs")).experiment)
    assert ("l2" in found["training"], "average_from" in found["training"]) == (small, small)
    assert (found["model"]["dropout"], found["model"].get("id_dropout", 0.0)) == ((0.2, 0.5) if small else (0.1, 0.0))


def test_tables_of_which_none_says_what_users_did(tmp_path):
    logs = folder(tmp_path, numbers=pl.DataFrame({"user_id": ["a", "b"], "size": [1.5, 2.5]}))
    with pytest.raises(ValueError, match=r"Expected a table of behaviors.*numbers\.csv: user user_id, timestamp none"):
        describe(logs)


def test_a_time_that_is_not_read_is_shown(tmp_path):
    times = ["17th of November 2023", "18th of November 2023"] * 20
    users = [f"u{number % 7}" for number in range(40)]
    logs = folder(tmp_path, events=pl.DataFrame({"user_id": users, "item_id": users[::-1], "created": times}))
    with pytest.raises(ValueError, match=r"ISO 8601.*created has 1[78]th of .*, which is not read as a time"):
        describe(logs)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"user_id": [f"u{n}" for n in range(40)]}, r"each user_id stands in one row of events\.csv"),
        ({"user_id": ["u1"] * 40}, "user_id has one value"),
        ({"item_id": [n + 0.5 for n in range(40)]}, r"item_id has [\d.]+: write ids as whole numbers or texts"),
        (
            {"item_id": ["a|b", "b|c", "c|a", "a|c", "b"] * 8},
            r"item_id has several values in a row \(.*\): write a row for each",
        ),
    ],
)
def test_why_a_table_says_nothing_of_users_is_told(tmp_path, columns, match):
    users = [f"u{number % 7}" for number in range(40)]
    events = {"user_id": users, "item_id": [0.5] * 40, "created": iso(range(START, START + 40))} | columns
    with pytest.raises(ValueError, match=f"Expected a table of behaviors.*{match}"):
        describe(folder(tmp_path, events=pl.DataFrame(events)))


def test_columns_whose_names_are_one_in_the_schema_are_told_apart(tmp_path):
    tables = shop()
    tables["things"] = tables["things"].with_columns(
        **{"Shop Price": pl.Series([float(number) for number in range(30)]), "颜色": pl.Series(["r", "g"] * 15)},
        shop_price=pl.Series([number / 7 for number in range(30)]),
        尺寸=pl.Series(["s", "m", "l"] * 10),
    )
    _, schema = read(folder(tmp_path, **tables))
    entity = schema.entities["sku"]
    assert {name: entity.dense[name].column for name in ("shop_price", "shop_price2")} == {
        "shop_price": "Shop Price",
        "shop_price2": "shop_price",
    }
    assert {name: entity.features[name].column for name in ("x", "x2")} == {"x": "颜色", "x2": "尺寸"}


def test_lists_of_fractions_are_left_out(tmp_path):
    tables = shop()
    things = tables.pop("things").with_columns(vector=pl.Series([[number / 7, 0.5] for number in range(30)]))
    found, _ = read(folder(tmp_path, **tables, things_parquet=things))
    assert "# Left out: vector: lists of fractions" in found.schema


def lists():
    """Lists of five things, of which one or two are clicked."""
    rng = np.random.default_rng(0)
    rows = []
    for request in range(400):
        chosen = rng.choice(5, rng.integers(1, 3), replace=False)
        user = f"u{request % 40}"
        for place, item in enumerate(rng.choice(60, 5, replace=False)):
            rows.append((f"r{request}", user, START + 3_600 * request, f"SKU{item:03d}", int(place in chosen)))
    names = ["request_id", "user_id", "timestamp", "sku", "clicked"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_what_is_filled_in_for_the_chosen_alone_is_left_out_however_seldom(tmp_path):
    shown = lists()
    some = pl.int_range(pl.len()) % 4 == 0
    shown = shown.with_columns(
        paid=pl.when((pl.col("clicked") == 1) & some).then(9.5).otherwise(0.0),
        kept=pl.when((pl.col("clicked") == 1) & some).then(pl.lit("yes")).otherwise(pl.lit("no")),
        fast=pl.when(some).then(pl.lit("yes")).otherwise(pl.lit("no")),
    )
    found, schema = read(folder(tmp_path, lists=shown))
    assert "# Left out: paid: filled in for 2" in found.schema and "# Left out: kept: filled in for 2" in found.schema
    [task] = schema.tasks.values()
    assert set(task.context.features) == {"fast"}


def test_lists_beside_what_was_chosen_of_them_are_asked_to_be_joined(tmp_path):
    shown = lists()
    chosen = shown.filter(pl.col("clicked") == 1).drop("clicked")
    found, _ = read(folder(tmp_path, shown=shown.drop("clicked"), clicks=chosen))
    assert any("join the two to impressions" in question and "clicks.csv" in question for question in found.questions)


def test_what_a_log_beside_others_may_mean_is_asked(tmp_path):
    tables = shop()
    days = tables["events"].filter(pl.col("event_type") == "purchase").with_columns(pl.col("event_time").str.head(10))
    nobody = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("0")).otherwise(pl.col("customer"))
    odd = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("View")).otherwise(pl.col("event_type"))
    events = tables["events"].with_columns(customer=nobody, event_type=odd)
    found, _ = read(folder(tmp_path, **tables | {"events": events, "orders": days.drop("event_type")}))
    asked = " ".join(found.questions)
    assert "event_time is the day alone, and events.csv tells moments" in asked
    assert re.search(r"0 did 3\d% of all this\. Is that one user\?", asked)
    assert "Are View and view one action?" in asked


def test_what_users_wrote_is_a_catalog_of_what_others_read(tmp_path):
    rng = np.random.default_rng(0)
    posts = pl.DataFrame(
        {
            "post_id": [f"p{number}" for number in range(60)],
            "user_id": [f"u{number % 20}" for number in range(60)],
            "created_at": iso(range(START, START + 60)),
            "topic_id": [f"t{number % 30}" for number in range(60)],
        }
    )
    likes = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, 40, 900)],
            "post_id": [f"p{post}" for post in rng.integers(0, 60, 900)],
            "created_at": iso(START + rng.integers(0, 90 * DAY, 900)),
        }
    )
    found, schema = read(folder(tmp_path, posts=posts, likes=likes))
    assert list(schema.groups) == ["likes"] and schema.entities["post"].file == "posts.csv"
    assert found.files["posts.csv"] == "catalog: one row for each post_id"


def test_a_table_of_users_may_call_its_key_id(tmp_path):
    tables = shop()
    tables["customers"] = tables.pop("people").rename({"customer": "id"})
    found, schema = read(folder(tmp_path, **tables))
    assert found.files["customers.csv"] == "users: one row for each id"
    assert set(schema.user.features) == {"country"}


def test_of_two_catalogs_of_the_same_things_the_one_that_says_more_is_read(tmp_path):
    tables = shop()
    links = {"sku": tables["things"]["sku"], "other_id": [*range(1_000, 1_030)], "more_id": [*range(2_000, 2_030)]}
    found, schema = read(folder(tmp_path, **tables, links=pl.DataFrame(links)))
    assert schema.entities["sku"].file == "things.csv"
    assert found.files["links.csv"] == "not read, since another says more: a catalog: one row for each sku"


def test_users_of_whom_none_did_anything_are_no_profile(tmp_path):
    tables = shop()
    people = tables["people"].with_columns(customer=pl.col("customer").str.replace("c", "C0"))
    found, schema = read(folder(tmp_path, **tables | {"people": people}))
    assert re.search(r"customer has values as C0.*Write them alike", found.files["people.csv"])
    assert not schema.user.features


def test_a_kind_that_hardly_anybody_does_is_predicted_only_with_a_question(tmp_path):
    tables = shop()
    events = tables["events"].with_columns(event_type=pl.col("event_type").replace("purchase", "mark"))
    marks = events.filter(pl.col("event_type") == "mark").head(100)
    seldom = pl.concat([events.filter(pl.col("event_type") == "view"), marks]).sort("event_time")
    found, schema = read(folder(tmp_path, **tables | {"events": seldom}))
    assert list(schema.tasks) == ["next_mark"]
    assert any("Is mark what is to be predicted?" in question for question in found.questions)


def test_lines_without_a_user_are_told_which_table_has_one(tmp_path):
    orders = pl.DataFrame(
        {
            "id": [f"o{number}" for number in range(300)],
            "customer_id": [f"c{number % 40}" for number in range(300)],
            "email": [f"c{number % 40}@x.org" for number in range(300)],
            "created_at": iso(range(START, START + 300)),
        }
    )
    lines = pl.DataFrame({"order_id": [f"o{n % 300}" for n in range(900)], "sku": [f"s{n % 70}" for n in range(900)]})
    with pytest.raises(ValueError, match=r"lines\.csv: its order_id is id of orders\.csv.*Join the two"):
        describe(folder(tmp_path, orders=orders, lines=lines))


def test_headers_in_any_script(tmp_path):
    rng = np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "用户编号": [f"U{user}" for user in rng.integers(0, 40, 900)],
            "商品编号": [f"P{item}" for item in rng.integers(0, 60, 900)],
            "时间": iso(START + rng.integers(0, 90 * DAY, 900)),
        }
    )
    goods = pl.DataFrame(
        {"商品编号": [f"P{item}" for item in range(60)], "类目": ["a", "b", "c"] * 20, "品牌": ["x", "y"] * 30}
    )
    found, schema = read(folder(tmp_path, log=log, goods=goods))
    [entity] = schema.entities.values()
    assert {feature.column for feature in entity.features.values()} == {"类目", "品牌"}
    assert any("用户编号 (40 values) is taken for them" in question for question in found.questions)
    assert prepare(str(tmp_path / "logs"), schema, str(tmp_path / "records")).manifest["behaviors"]["log"] == 900


def test_texts_of_numbers_with_a_unit_are_left_out_with_a_word(tmp_path):
    tables = shop()
    things = tables["things"].with_columns(cost=pl.Series([f"${number}.99" for number in range(30)]))
    found, _ = read(folder(tmp_path, **tables | {"things": things}))
    assert "# Left out: cost: numbers with a unit ($" in found.schema


def test_ids_that_are_written_differently_are_shown(tmp_path):
    tables = shop()
    things = tables["things"].with_columns(sku=pl.col("sku").str.to_lowercase())
    found, _ = read(folder(tmp_path, **tables | {"things": things}))
    assert re.search(
        r"sku has values as sku\d+, sku\d+, and sku of events\.csv .*Write them alike", found.files["things.csv"]
    )


def test_columns_and_files_that_are_not_read_are_named(tmp_path):
    tables = shop()
    things = tables.pop("things").with_columns(pair=pl.struct("sku", "price"))
    logs = folder(tmp_path, **tables, things_parquet=things)
    Path(logs, "more.tsv").write_text("a\tb\n")
    found, _ = read(logs)
    assert found.files["things.parquet, pair"].startswith("not read: of type Struct")
    assert found.files["more.tsv"] == "not read: none of .parquet, .csv, .csv.gz"
    assert "# Not read: more.tsv" in found.schema


def test_a_file_without_names_of_columns(tmp_path):
    head, events = shop()["events"].write_csv().split("\n", 1)
    (tmp_path / "events.csv").write_text(events)
    with pytest.raises(
        ValueError, match=r"names of the columns in the first line of .*events\.csv\. Received .* a row: "
    ):
        describe(str(tmp_path))
    (tmp_path / "events.csv").write_text(f"{head}\n{events}")
    describe(str(tmp_path))


def test_a_row_for_each_that_was_shown_is_no_behavior_but_a_click_of_a_request_is(tmp_path):
    write_hotel_lists(str(tmp_path / "logs"), users=150, seed=1)
    clicks = pl.read_parquet(tmp_path / "logs/behaviors/click.parquet")
    shown = pl.read_parquet(tmp_path / "logs/impressions/next_click.parquet")
    chosen = shown.filter(pl.col("label") == 1).select("request_id", "user_id", "hotel_id", "timestamp")
    clicks.join(chosen, on=["user_id", "hotel_id", "timestamp"]).write_parquet(
        tmp_path / "logs/behaviors/click.parquet"
    )
    found, schema = read(str(tmp_path / "logs"))
    assert found.files["truth/next_click.parquet"].startswith("not read: a row for each that was shown in impressions/")
    assert "behaviors/click.parquet" in {group.file for group in schema.groups.values()}
    assert "truth/next_click.parquet" not in {group.file for group in schema.groups.values()}
