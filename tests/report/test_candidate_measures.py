"""What candidates give away: by hand, against `evaluate`, and the check that says so."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured_records import measured

from atrank_tf.evaluation import evaluate
from atrank_tf.evaluation.protocol import score_baselines
from atrank_tf.experiment import Batching
from atrank_tf.preparation import prepare
from atrank_tf.report import load_report
from atrank_tf.report.candidate_measures import TARGETS_PER_USER, user_aucs
from atrank_tf.report.checks import checks
from atrank_tf.report.page import page
from atrank_tf.schema import load_schema, schema_from_dict

DAY = 86_400
SCHEMA = {
    "tables": {"item": {"dim": 2}},
    "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
    "groups": {
        "buy": {"entity": "item", "actions": ["buy"]},
        "visit": {"entity": "item", "actions": ["go"]},
    },
    "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
    "split": {"kind": "by_time", "validation_from": 10 * DAY, "test_from": 20 * DAY},
}
# Two objects, so that the negative is the other one: (user, object, day).
BOUGHT = [("u1", "a", 1), ("u1", "b", 3), ("u1", "a", 5), ("u1", "b", 12), ("u1", "a", 22)]
BOUGHT += [("u2", "b", 2), ("u2", "a", 25)]
VISITED = [("u2", "a", 1)]


def reported(folder, schema):
    """Returns the report on records of two objects."""
    (folder / "logs/behaviors").mkdir(parents=True)
    for name, action, rows in (("buy", "buy", BOUGHT), ("visit", "go", VISITED)):
        lines = [f"{user},{item},{action},{day * DAY}" for user, item, day in rows]
        text = "\n".join(["user_id,item_id,action,timestamp", *lines])
        (folder / f"logs/behaviors/{name}.csv").write_text(text + "\n")
    records = prepare(str(folder / "logs"), schema_from_dict(schema), str(folder / "records"), empty_parts=True)
    return measured(records, now=2**31)


@pytest.fixture(scope="module")
def two_objects(tmp_path_factory):
    return reported(tmp_path_factory.mktemp("two_objects"), SCHEMA)


def candidates_of(report, task="next"):
    return [part["candidates"] for part in report["tasks"][task]["parts"].values()]


def test_properties_by_hand(two_objects):
    training, validation, test = candidates_of(two_objects)
    assert [each["targets"] for each in (training, validation, test)] == [4, 1, 2]
    names = ("all", "chosen before by the user", "done before by the user: buy", "done before by the user: visit")
    names = (*names, "new to the user", "never chosen in training")
    # u1 buys a for the second time on day 5; of the others nothing was bought before.
    assert training["positives"] == dict(zip(names, (4, 1, 1, 0, 3, 0), strict=True))
    # Beside b of day 3 is a, beside a of day 5 is b; beside b of u2 is a, which u2 had visited.
    assert training["negatives"] == dict(zip(names, (4, 2, 2, 1, 1, 0), strict=True))
    assert validation["positives"] == validation["negatives"] == dict(zip(names, (1, 1, 1, 0, 0, 0), strict=True))
    # u2 buys a, which they had visited, and had bought b.
    assert test["positives"] == dict(zip(names, (2, 1, 1, 1, 0, 0), strict=True))
    assert test["negatives"] == dict(zip(names, (2, 2, 2, 0, 0, 0), strict=True))


def test_rules_of_thumb_by_hand(two_objects):
    training, validation, test = (each["user_auc"] for each in candidates_of(two_objects))
    # Both objects were bought twice; a positive does not count itself. u1 did a on day 5, and b and a as negatives of
    # days 5 and 3: 3 of 9 pairs. u2 did the negative.
    assert training == {"popularity": 0.0, "done before": pytest.approx(1 / 6, abs=1e-4), "times done before": 0.1667}
    # On day 12 a was bought twice, b once.
    assert validation == {"popularity": 0.5, "done before": 0.5, "times done before": 0.0}
    assert test == {"popularity": 0.5, "done before": 0.5, "times done before": 0.5}


def test_rules_get_what_evaluate_says(records):
    """On the same candidates: those of evaluation with as many targets of a user."""
    report = load_report(records.path)
    settings = Batching(evaluation_targets_per_user=TARGETS_PER_USER)
    for part in ("validation", "test"):
        found = report["tasks"]["next_purchase"]["parts"][part]["candidates"]
        scored = score_baselines(records, part, ["next_purchase"], settings)
        for rule, name in (("popularity", "popularity"), ("frequency", "times done before")):
            expected = evaluate(scored[rule]["next_purchase"])["user_auc"].value
            assert found["user_auc"][name] == pytest.approx(expected, abs=1e-4)
    assert [part["candidates"] for part in report["tasks"]["next_redemption"]["parts"].values()] == [None] * 3


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=30))
def test_user_auc_counts_pairs(rows):
    columns = [np.array([row[place] for row in rows]) for place in range(3)]
    found = user_aucs(columns[0].astype(np.int64), columns[1].astype(np.float64), columns[2].astype(bool))
    expected = []
    for user in range(4):
        sides = [[score for who, score, positive in rows if who == user and positive is side] for side in (True, False)]
        won = [(p > n) + (p == n) / 2 for p, n in itertools.product(*sides)]
        if won:
            expected.append(sum(won) / len(won))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "advice", "parts"),
    [
        ("chosen before by the user", 'exclude = "same_moment" and history in', ["training", "validation", "test"]),
        ("never chosen in training", "unseen = true in", ["validation", "test"]),
    ],
)
def test_what_only_positives_are_gives_them_away(two_objects, name, advice, parts):
    changed = copy.deepcopy(two_objects)
    for each in candidates_of(changed):
        each["positives"] |= {"all": 1_000, name: 11}
        each["negatives"] |= {"all": 9_000, name: 0}
    found = [check for check in checks(changed) if f"positives {name}" in check["says"]]
    assert [check["about"] for check in found] == [f"next, {part}" for part in parts]
    for check in found:
        assert (check["found"], check["of"], check["look"]) == (11, 1_000, True)
        assert f"So what was {name} is nearly always the positive" in check["says"] and advice in check["says"]
    for each in candidates_of(changed):  # A twentieth of the positives' share is enough.
        each["negatives"][name] = 5
    fine = [check for check in checks(changed) if f"positives {name}" in check["says"]]
    assert [check["look"] for check in fine] == [False] * len(parts)
    assert fine[0]["says"] == f"positives {name}; of sampled negatives 0.06% are"


def test_the_rule_of_the_literature_gives_away_what_was_chosen_before(tmp_path, logs, schema_file):
    """The same logs under both rules: one is marked, the other is not."""
    text = schema_file.read_text()
    marked = {}
    for name, rule in (("literature", ', exclude = "ever_chosen"'), ("production", ", history = 2")):
        (tmp_path / f"{name}.toml").write_text(text.replace("popularity = 1", f"popularity = 1{rule}"))
        schema = load_schema(str(tmp_path / f"{name}.toml"))
        report = load_report(prepare(str(logs), schema, str(tmp_path / name)).path)
        marked[name] = [
            check["about"] for check in report["checks"] if check["look"] and "nearly always" in check["says"]
        ]
    parts = ["training", "validation", "test"]
    assert marked == {"literature": [f"next_purchase, {part}" for part in parts], "production": []}


def test_where_training_has_seen_nothing_there_are_no_candidates(tmp_path):
    report = reported(tmp_path, SCHEMA | {"split": {"kind": "by_time", "validation_from": 1, "test_from": DAY}})
    assert candidates_of(report) == [None] * 3
    assert not [check for check in checks(report) if "sampled negatives" in check["says"]]
    assert "new to the user" not in page(report)


def test_the_page_tells_it(two_objects):
    text = page(two_objects)
    assert "training: positives" in text and "new to the user" in text and "times done before" in text
    assert "<th>done before</th><td>0.1667</td><td>0.5000</td><td>0.5000</td>" in text
