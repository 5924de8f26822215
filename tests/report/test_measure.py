"""The report: every count by hand on the logs of a few rows; the same from one chunk as from many."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from measured_records import measured

from atrank_tf.data import chunk_reading
from atrank_tf.preparation import prepare
from atrank_tf.report import load_report
from atrank_tf.report.checks import checks
from atrank_tf.report.target_measures import nothing_known
from atrank_tf.report.timeline_measures import popularity_curve
from atrank_tf.schema import schema_from_dict

DAY = 86_400
SCHEMA = {
    "tables": {"item": {"dim": 2, "min_count": 2}, "brand": {"dim": 2}, "slot": {"dim": 2}, "age": {"dim": 2}},
    "entities": {
        "item": {"id": {"column": "item_id", "table": "item"}, "features": {"brand": "brand"}},
    },
    "groups": {
        "click": {"entity": "item", "actions": ["view", "buy"], "max_length": 3},
        "visit": {"entity": "item", "actions": ["go"]},
    },
    "tasks": {
        "next": {"group": "click", "negatives": {"uniform": 1}, "actions": ["buy"]},
        "offer": {"group": "click", "candidates": "impressions", "context": {"features": {"slot": "slot"}}},
    },
    "user": {"features": {"age": "age"}},
    "split": {"kind": "by_time", "validation_from": 10 * DAY, "test_from": 20 * DAY},
}
FILES = {
    "behaviors/click.csv": [
        "user_id,item_id,action,timestamp",
        f"u1,a,buy,{1 * DAY}",
        f"u1,a,buy,{1 * DAY}",  # A duplicate.
        f"u1,b,view,{1 * DAY}",
        f"u1,a,buy,{3 * DAY + 1}",
        f"u1,c,buy,{12 * DAY}",  # Never bought in training.
        f"u1,a,buy,{25 * DAY}",
        f"u2,a,view,{2 * DAY}",
        f"u2,b,view,{2 * DAY}",  # Everything of u2 is of one moment.
        f"u3,d,buy,{11 * DAY}",
        f"u3,a,buy,{5_000 * DAY + 7}",  # Of the future, by the clock of this test.
    ],
    "behaviors/visit.csv": ["user_id,item_id,action,timestamp", f"u1,a,go,{3 * DAY + 1}", f"u3,b,go,{11 * DAY - 60}"],
    "catalog/item.csv": ["item_id,brand", "a,x", "b,", "c,z", "d,x"],
    "catalog/user.csv": ["user_id,age", "u1,old"],
    "impressions/offer.csv": [
        "request_id,user_id,timestamp,item_id,label,slot",
        f"r1,u1,{2 * DAY},a,1,top",
        f"r1,u1,{2 * DAY},b,0,low",
        f"r2,u1,{15 * DAY},d,1,new",
        f"r3,u2,{16 * DAY},a,0,top",
    ],
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for name, lines in FILES.items():
        (folder / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "logs" / name).write_text("\n".join(lines) + "\n")
    return prepare(str(folder / "logs"), schema_from_dict(SCHEMA), str(folder / "records"), empty_parts=True)


@pytest.fixture(scope="module")
def report(records):
    return measured(records, now=4_000 * DAY)


def some(counts):
    return {name: count for name, count in counts.items() if count}


def test_users_and_gaps(report):
    assert (report["users"], report["users_of_one_moment"]) == (3, 1)
    # u1: 0, 2 days, 0, 8.99 days, 13 days; u2: 0; u3: a minute, years.
    assert some(report["gaps"]) == {
        "same moment": 3,
        "less than a day": 1,
        "2 days": 1,
        "8 days": 2,
        "4,096 days or more": 1,
    }


def test_a_group(report):
    click = report["groups"]["click"]
    assert (click["behaviors"], click["objects"], click["future"], click["users_cut"]) == (9, 4, 1, 1)
    assert click["actions"] == {"view": 3, "buy": 6}
    assert some(click["per_user"]) == {"2 to 3": 2, "4 to 7": 1}
    # u1 at 3 days and u3 after years are not at midnight.
    assert click["midnights"] == 7
    # a: 5 of 9, then b, c and d; the most frequent half are 2 of 4.
    curve = dict(click["popularity"])
    assert (curve[0.001], curve[0.5], curve[1.0]) == (pytest.approx(5 / 9, abs=1e-6), pytest.approx(7 / 9, abs=1e-6), 1)
    assert click["by_day"]["first"] == "1970-01-02"
    assert sum(click["by_day"]["counts"]) == 9
    # c and d are acted on in validation only, so they stay below min_count.
    assert click["unknown"] == 2
    assert click["bare"] == 2  # b has no brand.
    visit = report["groups"]["visit"]
    assert [(group["users_elsewhere"], group["users_of_others"]) for group in (click, visit)] == [(2, 2), (2, 3)]


def test_a_task_with_sampled_candidates(report):
    training, validation, test = report["tasks"]["next"]["parts"].values()
    assert [part["targets"] for part in (training, validation, test)] == [2, 2, 2]
    assert [part["users"] for part in (training, validation, test)] == [1, 2, 2]
    assert [part["new_users"] for part in (training, validation, test)] == [0, 1, 1]
    # The first of u1 with the view of b, the second with the visit.
    assert [part["same_moment"] for part in (training, validation, test)] == [2, 0, 0]
    # `a` was bought twice in training, beside itself once; c and d never.
    assert some(training["popularity"]) == {"1": 2}
    assert some(validation["popularity"]) == {"0": 2}
    assert (validation["unseen"], validation["positives"]) == (2, 2)
    assert some(test["popularity"]) == {"2 to 3": 2}
    assert training["outcomes"] == {"buy": 2}
    # The first purchase of u1 has no history.
    assert some(training["history"]) == {"0": 1, "2 to 3": 1}
    assert some(training["gaps"]) == {"2 days": 1}
    assert some(validation["gaps"]) == {"less than a day": 1, "8 days": 1}
    assert training["unknown"] == {"item id": [0, 2], "item brand": [0, 2], "user age": [0, 2]}
    assert validation["unknown"] == {"item id": [2, 2], "item brand": [0, 2], "user age": [1, 2]}


def test_a_task_with_impressions(report):
    training, validation, test = report["tasks"]["offer"]["parts"].values()
    assert (training["targets"], training["positives"], training["outcomes"]) == (1, 1, {"left": 1, "chosen": 1})
    assert (validation["targets"], validation["positives"], validation["outcomes"]) == (2, 1, {"left": 1, "chosen": 1})
    assert (validation["unseen"], validation["new_users"], validation["users"]) == (1, 1, 2)
    assert validation["unknown"]["context slot"] == [1, 2]
    assert validation["unknown"]["item id"] == [1, 1]
    assert test["targets"] == 0
    assert report["tasks"]["offer"]["drift"]["test"] == {}


def test_checks_name_what_to_look_at(report):
    look = {
        (check["about"], check["says"].split(",")[0].split(":")[0].split(". ")[0])
        for check in report["checks"]
        if check["look"]
    }
    assert look == {
        ("behaviors/click", "exact duplicates"),
        ("group click", "behaviors after the moment of prepare"),
        ("users", "users with several behaviors"),
        ("next, training", "positives chosen before by the user; of sampled negatives 0.00% are"),
        ("next, validation", "chosen objects that were never chosen in training"),
        ("offer, validation", "chosen objects that were never chosen in training"),
        ("offer, test", "targets"),
    }
    assert all({"about", "found", "of", "says", "look"} == set(check) for check in report["checks"])


def test_a_catalog_that_fits_no_id_is_something_to_look_at(report):
    changed = copy.deepcopy(report)
    changed["tasks"]["next"]["parts"]["training"]["unknown"] = {"item id": [95, 100], "item brand": [96, 100]}
    found = [check for check in checks(changed) if check["look"] and "columns unknown" in check["says"]]
    assert [(check["about"], check["found"], check["of"]) for check in found] == [("next, training", 1, 2)]
    assert found[0]["says"].startswith("columns unknown in nearly all targets: item brand. Are the ids of the catalog")


def test_fewer_positives_in_training_than_in_validation_are_something_to_look_at(report):
    says = "positives of training and validation that are in training"
    for number, look in ((2, False), (3, True)):  # Of training there are 2.
        changed = copy.deepcopy(report)
        changed["tasks"]["next"]["parts"]["validation"]["positives"] = number
        (check,) = [each for each in checks(changed) if each["about"] == "next, training" and says in each["says"]]
        assert (check["found"], check["of"], check["look"]) == (2, 2 + number, look)
        assert check["says"].endswith("train --include_validation" if look else says)


@pytest.mark.parametrize(
    ("counts", "found", "of", "says"),
    [
        ({"bare": 5}, 5, 9, "no side feature is known. Are the ids of the catalog written as those of the log?"),
        ({"users_elsewhere": 0}, 0, 2, "as many as could be. Are the users of all logs written in the same way?"),
    ],
)
def test_logs_that_do_not_fit_each_other_are_something_to_look_at(report, counts, found, of, says):
    changed = copy.deepcopy(report)
    changed["groups"]["click"] |= counts
    (check,) = [check for check in checks(changed) if check["look"] and says in check["says"]]
    assert (check["about"], check["found"], check["of"]) == ("group click", found, of)


def test_users_without_behaviors_are_no_users_who_could_be_in_two_groups(report):
    """As those who were only shown something."""
    changed = copy.deepcopy(report)
    changed["users"] = 1_000
    changed["groups"]["click"] |= {"users_elsewhere": 5, "users_of_others": 5}
    changed["groups"]["click"]["per_user"] |= {"0": 700, "1": 295}
    assert not [check for check in checks(changed) if check["look"] and "in another group" in check["says"]]


def test_baskets_are_to_look_at_only_where_a_model_sees_them(report):
    changed = copy.deepcopy(report)
    changed["tasks"]["next"]["ties"] = "ordered"
    look = [check["about"] for check in checks(changed) if check["look"] and "same moment" in check["says"]]
    assert look == ["next, training"]


def test_what_every_red_line_says_to_do(report):
    """A line is more than a count: a question, or what to set."""
    for check in report["checks"]:
        if check["look"]:
            assert re.search(r"\?|: |\. ", check["says"]), check["says"]


def test_the_click_itself_is_no_other_behavior_at_its_moment(tmp_path):
    shown = [line for line in FILES["impressions/offer.csv"] if not line.startswith("r1")]
    moment = 3 * DAY + 1
    # a is bought at that moment, and visited; another second, another user and what was left are no click of r1.
    shown += [f"r1,u1,{moment},a,1,top", f"r1,u1,{moment},b,0,low", f"r4,u2,{2 * DAY},b,1,top", f"r5,u9,{moment},a,1,"]
    files = FILES | {"impressions/offer.csv": shown}
    for name, lines in files.items():
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / name).write_text("\n".join(lines) + "\n")
    schema = schema_from_dict(SCHEMA)
    made = prepare(str(tmp_path / "logs"), schema, str(tmp_path / "records"), empty_parts=True)
    training = load_report(made.path)["tasks"]["offer"]["parts"]["training"]
    # r1: the visit of a beside its purchase. r4: the view of a beside that of b, which it chose. r5: nothing.
    assert (training["targets"], training["same_moment"]) == (3, 2)
    (tmp_path / "logs/behaviors/visit.csv").write_text("\n".join(FILES["behaviors/visit.csv"][::2]) + "\n")
    made = prepare(str(tmp_path / "logs"), schema, str(tmp_path / "records"), empty_parts=True)
    assert load_report(made.path)["tasks"]["offer"]["parts"]["training"]["same_moment"] == 1


def test_the_files_are_those_of_the_manifest(records, report):
    assert report["files"] == records.manifest["files"]


def test_the_report_is_written_with_the_records(records):
    written = load_report(records.path)
    assert written == json.loads(json.dumps(measured(records, now=2**33)))
    assert (Path(records.path) / "report.html").read_text().startswith("<!doctype html>")


def test_a_folder_without_a_report(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"Expected report\.json in .*\. Make the records again with .* --overwrite"
    ):
        load_report(str(tmp_path))


@pytest.mark.parametrize("users", [1, 2])
def test_many_chunks_give_the_same_as_one(records, report, monkeypatch, users):
    """But for sampled candidates, which each chunk draws."""
    monkeypatch.setattr(chunk_reading, "USERS_PER_CHUNK", users)
    found, expected = copy.deepcopy((measured(records, 4_000 * DAY, users), report))
    for each in (found, expected):
        each["checks"] = [check for check in each["checks"] if "sampled negatives" not in check["says"]]
        for part in each["tasks"]["next"]["parts"].values():
            part["candidates"] = part["candidates"]["targets"]
    assert found == expected


def test_of_several_values_one_that_is_known_is_enough():
    rows = np.array([[1, 0], [1, 5], [1, 1], [4, 1], [0, 0]])
    assert nothing_known(rows).tolist() == [True, False, True, False, True]


def test_popularity_of_nothing():
    assert popularity_curve(np.zeros(3, np.int64)) == []
