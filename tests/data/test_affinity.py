"""Affinity: counted once more, behavior by behavior, in Python."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records, TrainingBatches, evaluation_batches, requests, timeline_batches, training_batches
from atrank_tf.data.affinity import Affinity, catalog_columns, unpadded
from atrank_tf.data.targets import parse
from atrank_tf.experiment import Batching
from atrank_tf.schema import FIRST_ROW, Schema, schema_from_dict
from atrank_tf.schema.affinity import ANY_OBJECT, SAME_OBJECT, affinity_channels, affinity_features
from atrank_tf.schema.inputs import affinity_name

DAY = 86_400
SCHEMA = {
    "tables": {"item": {"dim": 2, "rows": 5}, "kind": {"dim": 2, "rows": 5}, "shop": {"dim": 2, "rows": 4}},
    "entities": {
        "item": {
            "id": {"column": "item_id", "table": "item"},
            "features": {"kind": "kind", "shop": "shop"},
            "rows": 6,
        },
        "offer": {
            "id": {"column": "offer_id", "table": "shop"},
            "features": {"items": {"table": "item", "max_values": 2}, "kinds": {"table": "kind", "max_values": 2}},
            "rows": 4,
        },
    },
    "groups": {
        "purchase": {"entity": "item", "actions": ["full", "reduced"]},
        "use": {"entity": "offer", "actions": ["use"]},
    },
    "tasks": {
        "next_purchase": {"group": "purchase", "negatives": {"uniform": 1}},
        "next_use": {"group": "use", "negatives": {"uniform": 1}},
    },
    "time": {"unit": "day", "buckets": 6},
}
# Rows 0 (padding), 1 (unknown), 2, 3, ... Item 5 is rare: its id shares the row of unknown ones.
COLUMNS = {
    "item": {
        "item_id": np.array([0, 1, 2, 3, 4, 1]),
        "kind": np.array([[0], [1], [2], [2], [3], [4]]),
        "shop": np.array([[0], [1], [2], [3], [1], [2]]),
    },
    "offer": {
        "offer_id": np.array([0, 1, 2, 3]),
        "items": np.array([[0, 0], [1, 0], [2, 3], [4, 1]]),
        "kinds": np.array([[0, 0], [1, 0], [2, 0], [3, 4]]),
    },
}
# User, item, action (2: full, 3: reduced), time. User 0 asks at day 40, user 1 at day 8.
PURCHASES = [(0, 2, 2, 1), (0, 2, 3, 38), (0, 3, 2, 39), (0, 5, 2, 40), (1, 2, 2, 5), (0, 5, 2, 12), (1, 4, 3, 7)]
USES = [(0, 2, 2, 3), (0, 3, 2, 39.5), (1, 3, 2, 2)]


def _padded(rows: list[tuple[int, int, int, float]]) -> tuple[tf.Tensor, ...]:
    """Columns id, action, timestamp of two users, padded."""
    of_users = [[(o, a, int(t * DAY)) for user, o, a, t in rows if user == number] for number in range(2)]
    width = max(map(len, of_users)) + 1
    filled = np.array([each + [(0, 0, 0)] * (width - len(each)) for each in of_users], np.int64)
    return tuple(tf.constant(filled[..., column]) for column in range(3))


def _features(schema: Schema, task: str, candidates: list[list[int]], now: list[float]) -> np.ndarray:
    affinity = Affinity(schema, task, COLUMNS)
    behaviors = {"purchase": unpadded(*_padded(PURCHASES)), "use": unpadded(*_padded(USES))}
    times = tf.constant([int(each * DAY) for each in now], tf.int64)
    found = affinity.features(
        affinity.keys(behaviors), tf.range(2, dtype=tf.int64), tf.constant(candidates, tf.int64), times
    )
    return found.numpy()


def _named(schema: Schema, task: str, found: np.ndarray) -> dict[tuple[str, str, str, int], float]:
    """The features of one candidate by (group, table, action, days)."""
    names = affinity_features(schema, task)
    return {(*f.channel, f.action, f.age // DAY): float(x) for f, x in zip(names, found, strict=True)}


def test_the_channels_are_the_tables_that_both_read() -> None:
    schema = schema_from_dict(SCHEMA)
    of_purchase = [tuple(channel) for channel in affinity_channels(schema, "next_purchase")]
    assert of_purchase == [
        *(("purchase", table) for table in (ANY_OBJECT, SAME_OBJECT, "kind", "shop")),
        *(("use", table) for table in (ANY_OBJECT, "item", "kind", "shop")),
    ]
    assert ("use", SAME_OBJECT) in affinity_channels(schema, "next_use")


def test_a_key_of_the_task_restricts_the_tables() -> None:
    tasks = {**SCHEMA["tasks"], "next_purchase": {**SCHEMA["tasks"]["next_purchase"], "affinity": ["item", "kind"]}}
    channels = affinity_channels(schema_from_dict(SCHEMA | {"tasks": tasks}), "next_purchase")
    assert {channel.table for channel in channels} == {ANY_OBJECT, SAME_OBJECT, "item", "kind"}
    tasks["next_purchase"]["affinity"] = []
    assert not affinity_channels(schema_from_dict(SCHEMA | {"tasks": tasks}), "next_purchase")
    tasks["next_purchase"]["affinity"] = ["kin"]
    with pytest.raises(ValueError, match=r'Unknown table "kin" in \[tasks.next_purchase.affinity\].*"kind"'):
        schema_from_dict(SCHEMA | {"tasks": tasks})


def test_what_was_done_with_things_that_belong_to_a_new_object_counts(records: Records) -> None:
    """Coupons without an id in the vocabulary are linked to their products, all of them, by codes."""
    name = "next_redemption"
    columns = catalog_columns(records.schema, records.catalogs)
    unknown = np.ones_like(columns["coupon"]["coupon_id"])  # As those are that came after the vocabulary.
    affinity = Affinity(records.schema, name, {**columns, "coupon": {**columns["coupon"], "coupon_id": unknown}})
    place = {str(feature): number for number, feature in enumerate(affinity_features(records.schema, name))}
    links = records.catalogs["product"].features["coupons"]
    offers, seen = records.catalogs["coupon"].features["offer"][:, 0], 0
    inputs, *_ = next(iter(evaluation_batches(records, "test", tasks=[name])))
    rows = {column: inputs[f"purchase__{column}"].numpy() for column in ("id", "action", "timestamp")}
    keys = affinity.keys_of_inputs({key: value for key, value in inputs.items() if key.count("__") == 1})
    users = tf.range(tf.size(inputs["now"], tf.int64), dtype=tf.int64)
    found = affinity.features(keys, users, inputs[f"{name}__candidates"], inputs["now"]).numpy()
    for row, coupons in enumerate(inputs[f"{name}__candidates"].numpy()):
        for column, coupon in enumerate(coupons):
            if coupon < FIRST_ROW:
                continue
            regular = rows["action"][row] == FIRST_ROW
            times = (links[rows["id"][row]] == offers[coupon]).any(axis=1)[regular].sum()
            assert found[row, column, place["purchase of offer: regular, ever"]] == pytest.approx(math.log1p(times))
            seen += times > 0
    assert seen > 20


def test_counts_by_hand() -> None:
    schema = schema_from_dict(SCHEMA)
    found = _features(schema, "next_purchase", [[2, 5], [2, 4]], [40, 8])
    item_2 = _named(schema, "next_purchase", found[0, 0])
    log2, log3 = math.log(2), math.log(3)
    # Bought at full price 39 days ago, reduced 2 days ago. The ladder is 1, 4 and 16 days; and ever.
    assert [item_2["purchase", SAME_OBJECT, "full", days] for days in (1, 4, 16, 0)] == pytest.approx([0, 0, 0, log2])
    assert [item_2["purchase", SAME_OBJECT, "reduced", days] for days in (1, 4, 16, 0)] == pytest.approx(
        [0, log2, log2, log2]
    )
    assert item_2["purchase", SAME_OBJECT, "", 0] == pytest.approx(math.log1p(2 * 16) - log3)  # Two days ago.
    # Item 3 is of the same kind, and was bought yesterday.
    assert [item_2["purchase", "kind", "full", days] for days in (1, 4, 16, 0)] == pytest.approx([log2] * 3 + [log3])
    # Offer 2 is for items 2 and 3, and was used at day 3; offer 3 at day 39.5, for kinds 3 and 4.
    assert item_2["use", "item", "use", 0] == pytest.approx(log2)
    assert item_2["use", "kind", "use", 16] == 0
    # Of all purchases, that of day 40 is not before the request.
    assert item_2["purchase", ANY_OBJECT, "full", 0] == pytest.approx(math.log(4))
    # The rare item is itself, not all rare ones.
    item_5 = _named(schema, "next_purchase", found[0, 1])
    assert item_5["purchase", SAME_OBJECT, "full", 0] == pytest.approx(log2)
    assert item_5["use", "item", "use", 0] == 0
    assert item_5["use", "kind", "use", 1] == pytest.approx(log2)
    # Another user.
    assert _named(schema, "next_purchase", found[1, 1])["purchase", "kind", "reduced", 1] == pytest.approx(log2)


def test_several_values_count_each() -> None:
    schema = schema_from_dict(SCHEMA)
    offer = _named(schema, "next_use", _features(schema, "next_use", [[2], [3]], [40, 8])[0, 0])
    # Items 2 (twice) and 3 (once) were bought.
    assert offer["purchase", "item", "full", 0] == pytest.approx(math.log(3))
    assert offer["purchase", "item", "reduced", 0] == pytest.approx(math.log(2))
    assert offer["purchase", "item", "", 0] == pytest.approx(math.log1p(2 * 16) - math.log(2))


def test_padding_unknown_objects_and_users_without_history_have_no_affinity() -> None:
    schema = schema_from_dict(SCHEMA)
    found = _features(schema, "next_purchase", [[0, 1], [2, 3]], [40, 0.5])
    of_any = [feature.channel.table == ANY_OBJECT for feature in affinity_features(schema, "next_purchase")]
    np.testing.assert_array_equal(found[0][:, ~np.array(of_any)], 0)
    np.testing.assert_array_equal(found[1], 0)
    affinity = Affinity(schema, "next_purchase", COLUMNS)
    nothing = {name: unpadded(*[tf.zeros([2, 0], tf.int64)] * 3) for name in ("purchase", "use")}
    none = affinity.features(
        affinity.keys(nothing),
        tf.range(2, dtype=tf.int64),
        tf.constant([[2], [3]], tf.int64),
        tf.constant([9, 9], tf.int64),
    )
    np.testing.assert_array_equal(none, 0)


@pytest.mark.parametrize("task", ["next_purchase", "next_use"])
def test_4_nothing_at_or_after_the_request_counts(task: str) -> None:
    schema = schema_from_dict(SCHEMA)
    candidates = [[2, 3], [2, 3]]
    before = _features(schema, task, candidates, [40, 8])
    later = [(0, 2, 2, 40), (0, 3, 2, 41), (1, 2, 2, 8), (1, 3, 2, 8.5)]
    PURCHASES.extend(later)
    USES.extend(later)
    try:
        np.testing.assert_array_equal(_features(schema, task, candidates, [40, 8]), before)
    finally:
        del PURCHASES[-4:], USES[-4:]


@pytest.mark.parametrize("absurd", [2**63 - 1, 2**40, 2**33, -(2**63)])
def test_times_that_cannot_be_change_no_other_number(absurd: int) -> None:
    """A request may hold any number: what is after the request does not count, whatever it is."""
    schema, candidates = schema_from_dict(SCHEMA), tf.constant([[2, 3], [2, 5]], tf.int64)
    affinity, users = Affinity(schema, "next_purchase", COLUMNS), tf.range(2, dtype=tf.int64)
    sane, found = [int(40 * DAY), int(8 * DAY)], []
    for absurd_purchases in (0, 2):
        columns = [np.pad(column, ((0, 0), (0, absurd_purchases))) for column in _padded(PURCHASES)]
        for column, value in zip(columns, (2, 3, absurd), strict=True):
            column[:, column.shape[1] - absurd_purchases :] = value
        purchases = unpadded(*(tf.constant(column) for column in columns))
        keys = affinity.keys({"purchase": purchases, "use": unpadded(*_padded(USES))})
        found.append(affinity.features(keys, users, candidates, tf.constant(sane, tf.int64)).numpy())
        far = affinity.features(keys, users, candidates, tf.constant([absurd, 0], tf.int64))
        assert np.isfinite(found[-1]).all() and np.isfinite(far).all()
    if absurd > 0:
        np.testing.assert_array_equal(*found)


def _check(records: Records, task: str, inputs: dict[str, Any], users: Any, timelines: dict[bytes, Any]) -> None:
    """Compares the affinity of a batch with loops over the users' whole timelines."""
    schema, columns = records.schema, catalog_columns(records.schema, records.catalogs)
    entity = schema.entity_of(task)
    found, names = inputs[affinity_name(task)], affinity_features(schema, task)

    def values(kind: str, table: str, row: int) -> list[int]:
        if table in (SAME_OBJECT, ANY_OBJECT):
            return [row if table == SAME_OBJECT else FIRST_ROW]
        spec = schema.entities[kind]
        own = [columns[kind][spec.id.column][row]] if spec.id.table == table else []
        own += [v for name, f in spec.features.items() if f.table == table for v in np.ravel(columns[kind][name][row])]
        return [int(value) for value in own if value >= FIRST_ROW]

    for row, user in enumerate(users):
        now = inputs["now"][row]
        for place, candidate in enumerate(inputs[f"{task}__candidates"][row]):
            if candidate < FIRST_ROW:
                continue
            for number, (channel, action, age) in enumerate(names):
                own, group = values(entity, channel.table, candidate), schema.groups[channel.group]
                matches = [
                    (a, t)
                    for o, a, t in timelines[user][channel.group]
                    for value in values(group.entity, channel.table, o)
                    if value in own and t < now
                ]
                if action:
                    wanted = FIRST_ROW + group.actions.index(action)
                    expected = math.log1p(sum(a == wanted and (not age or t >= now - age) for a, t in matches))
                elif matches:
                    longest = 2 * schema.time.boundaries[-1] / DAY
                    expected = max(0.0, math.log1p(longest) - math.log1p((now - max(t for _, t in matches)) / DAY))
                else:
                    expected = 0.0
                assert found[row, place, number] == pytest.approx(expected, abs=1e-5)


def _timelines(records: Records) -> dict[bytes, dict[str, list[tuple[int, int, int]]]]:
    found = {}
    for path in records.files:
        for serialized in tf.data.TFRecordDataset(path).batch(100):
            chunk = parse(serialized, records.schema)
            for number, user in enumerate(chunk.user_id.numpy()):
                found[user] = {
                    name: list(
                        zip(*(column.numpy()[rows.user.numpy() == number].tolist() for column in rows[:3]), strict=True)
                    )
                    for name, rows in chunk.groups.items()
                }
    return found


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_requests_have_counts_of_the_whole_timeline_before_them(records: Records, task: str) -> None:
    """The history is cut to 10 purchases; counts are not."""
    timelines = _timelines(records)
    inputs, _, _, users = next(
        iter(requests(records, "test", tasks=[task], settings=Batching(evaluation_batch_size=6)).as_numpy_iterator())
    )
    assert max(len(timelines[user]["purchase"]) for user in users) > records.schema.groups["purchase"].max_length
    _check(records, task, inputs, users, timelines)


def test_5_training_batches_of_requests_and_of_timelines_have_the_same_counts(records: Records) -> None:
    """A target of a timeline has the affinity that the same target has as a request of its own."""
    task, settings = "next_redemption", Batching(batch_size=1000, batch_tokens=10**6)
    rows = _by_target(training_batches(records, tasks=[task], settings=settings), task, "now")
    of_timelines = _by_target(timeline_batches(records, tasks=[task], settings=settings), task, f"{task}__now")
    assert len(rows) > 20 and rows.keys() == of_timelines.keys()
    for target, found in rows.items():
        np.testing.assert_array_equal(found, of_timelines[target])


def _by_target(batches: TrainingBatches, task: str, now: str) -> dict[Any, np.ndarray]:
    """(request time, candidates) -> affinity."""
    found = {}
    for inputs, *_ in batches.dataset.take(batches.steps).as_numpy_iterator():
        candidates = inputs[f"{task}__candidates"]
        shape = (-1, candidates.shape[-1])
        affinity = inputs[affinity_name(task)].reshape(
            *inputs[now].reshape(-1).shape, *inputs[affinity_name(task)].shape[-2:]
        )
        for time, ids, values in zip(inputs[now].reshape(-1), candidates.reshape(shape), affinity, strict=True):
            if ids.any():
                found[int(time), tuple(ids[ids > 0].tolist())] = values[ids > 0]
    return found


def test_a_view_without_affinity_has_none(records: Records) -> None:
    assert not [
        name
        for name in next(iter(evaluation_batches(records.select([], affinity=False), "test")))[0]
        if "affinity" in name
    ]
    schema = replace(
        records.schema, tasks={name: replace(task, affinity=()) for name, task in records.schema.tasks.items()}
    )
    assert records.select([], affinity=False).schema == schema
