"""What a declaration must satisfy: each rule refused once, with its place."""

import copy

import pytest

from atrank_tf.schema import schema_from_dict

VALID = {
    "tables": {"item": {"dim": 4}, "category": {"dim": 2}},
    "entities": {"item": {"id": {"column": "item_id", "table": "item"}, "features": {"category": "category"}}},
    "groups": {
        "click": {"entity": "item", "actions": ["view", "buy"]},
        "search": {"entity": "item", "actions": ["do"]},
    },
    "tasks": {
        "next": {"group": "click", "negatives": {"uniform": 4}},
        "shown": {"group": "click", "candidates": "impressions"},
    },
}


def changed(path, value):
    raw = copy.deepcopy(VALID)
    *rooms, last = path.split("/")
    place = raw
    for room in rooms:
        place = place.setdefault(room, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return raw


def test_the_valid_schema_is_valid():
    schema = schema_from_dict(VALID)
    assert schema.groups["click"].actions == ("view", "buy")
    assert not schema.prepared


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("entities/item", {"id": {"column": "item_id"}},
         r"Expected a table in \[entities\.item\.id\], or columns in features or dense of \[entities\.item\]"),
        ("tables/a b", {"dim": 1}, r"Expected a name without spaces, .* in \[tables\]\. Received: 'a b'\."),
        ("groups/a:b", {"entity": "item", "actions": ["x"]}, r"in \[groups\]\. Received: 'a:b'\."),
        ("entities/", {"id": {"column": "i", "table": "item"}}, r"in \[entities\]\. Received: ''\."),
        ("tasks/user", {"group": "click", "candidates": "impressions"},
         r'Expected another name for \[tasks\.user\]: \[user\] has it, .* Rename one, for example to "task_user"\.'),
        ("groups/user", {"entity": "item", "actions": ["do"]}, r"another name for \[groups\.user\]: \[user\] has it"),
        ("tasks/click", {"group": "click", "negatives": {"uniform": 1}},
         r'another name for \[tasks\.click\]: \[groups\.click\] has it, .* Rename one, for example to "task_click"\.'),
        ("tasks/next__buy", {"group": "click", "negatives": {"uniform": 1}},
         r"Expected a name without '__', .* in \[tasks\]\. Received: 'next__buy'\. Did you mean \"next_buy\"\?"),
        ("groups/click_", {"entity": "item", "actions": ["do"]},
         r"without '_' at its end in \[groups\]\. Received: 'click_'\. Did you mean \"click\"\?"),
        ("groups/__", {"entity": "item", "actions": ["do"]}, r"in \[groups\]\. Received: '__'\.$"),
        ("user", {"dense": ["income__k"]}, r"in \[user\]\. Received: 'income__k'\. Did you mean \"income_k\"\?"),
        ("tasks/shown/context", {"features": {"slot_": "category"}},
         r"in \[tasks\.shown\.context\]\. Received: 'slot_'\. Did you mean \"slot\"\?"),
        ("tasks", {}, r"Expected at least one entry in \[tasks\]\. Received: none\."),
        ("tables", {}, r"Expected at least one entry in \[tables\]\."),
        *[
            ("tasks/shown/context", {"dense": [column]},
             rf'Column "{column}" of \[tasks\.shown\.context\] is called as something that every request has: .*label')
            for column in ("candidates", "label", "now", "row_lengths", "timestamp")
        ],
        ("user", {"dense": ["income/1000"]},
         r"without '/' in \[user\]\. Received: 'income/1000'\. Take .* the file calls it: column = \"income/1000\"\."),
        ("tasks/shown/context", {"features": {"a/b": "category"}},
         r"without '/' in \[tasks\.shown\.context\]\. Received: 'a/b'"),
        ("entities/item/id/column", "item/id",
         r"without '/' in \[entities\.item\.id\]\. Received: 'item/id'.*: columns = \{ id = \"item/id\" \}"),
        ("entities/item/columns", {"brand": "x"}, r'Unknown column "brand" in \[entities\.item\.columns\]'),
        ("entities/item/features", {"a/b": "category"}, r"without '/' in \[entities\.item\]\. Received: 'a/b'"),
        ("tables/item/dim", -1, r"dim must not be negative\. Received: dim=-1 in \[tables\.item\]\."),
        ("tables/item/dim", 0, r'dim > 0 in \[entities\.item\.id\]: with dim = 0 .*\. Received: table "item"\.'),
        ("tables/category", {"dim": 0, "min_count": 2},
         r"table with dim = 0 are not counted\. Received: min_count=2 in .* Leave it out, or give it a dim\."),
        ("tables/category", {"dim": 0, "hash": 9},
         r"hash in \[tables\.category\] has no effect with dim = 0, which has no rows\. Received: hash=9\."),
        ("tables/item/min_count", -1, r"min_count must be positive\. Received: min_count=-1 in \[tables\.item\]\."),
        ("tables/item/hash", -1, r"hash must not be negative\. Received: hash=-1 in \[tables\.item\]\."),
        ("tables/item/hashes", 6, r"Expected hashes from 1 to 5 in \[tables\.item\]\. Received: 6\."),
        ("tables/item/hashes", 2, r"hashes in \[tables\.item\] has no effect without hash\. Received: hashes=2\."),
        ("tables/item", {"dim": 2, "hash": 9, "min_count": 2},
         r"Values of a table with hash are not counted\. Received: min_count=2 in \[tables\.item\]\. Leave it out"),
        ("tables/item/rows", -1, r"rows must not be negative\. Received: rows=-1 in \[tables\.item\]\."),
        ("entities/query", {"id": {"column": "text", "table": "item"}},
         r"\[entities\.query\] is used by no group\. Remove it or name it there\."),
        ("tables/brand", {"dim": 1}, r"\[tables\.brand\] is used by no entity, user or context feature\."),
        ("entities/item/id/table", "itme", r'Unknown table "itme" in \[entities\.item\.id\]\. Did you mean "item"\?'),
        ("entities/item/id/dtype", "int32",
         r"Expected \"string\" or \"int64\" for entities\.item\.id\.dtype\. Received: 'int32'\."),
        ("entities/item/features", {"item_id": "category"},
         r'Column "item_id" of \[entities\.item\] is both the id and a feature\. Keep one\.'),
        ("entities/item/features/category", "categories",
         r'Unknown table "categories" in \[entities\.item\.features\.category\]\. Did you mean "category"\?'),
        ("entities/item/features/category", {"table": "category", "max_values": 0},
         r"max_values must be positive\. Received: max_values=0 in \[entities\.item\.features\.category\]\."),
        ("entities/item/features/category", {"table": "category", "separator": ""},
         r"Expected a separator in \[entities\.item\.features\.category\]\. Received: ''\."),
        ("entities/item/features/category", {"table": "category", "separator": "|"},
         r"separator in \[entities\.item\.features\.category\] has no effect: with max_values = 1 the whole text is "
         r"one value\. Received: separator='\|'\. Set max_values"),
        ("entities/item/dense", ["category"],
         r'Column "category" of \[entities\.item\] is both in features and in dense\. Keep it in dense'),
        ("entities/item/dense", {"price": {"mean": float("nan")}},
         r"mean must be finite\. Received: mean=nan in \[entities\.item\.dense\.price\]\."),
        ("entities/item/dense", {"price": {"variance": float("nan")}},
         r"variance must not be negative\. Received: variance=nan in \[entities\.item\.dense\.price\]\."),
        ("entities/item/dense", {"price": {"variance": -1.0}},
         r"variance must not be negative\. Received: variance=-1\.0 in \[entities\.item\.dense\.price\]\."),
        ("user/features", {"age": "ages"}, r'Unknown table "ages" in \[user\.features\.age\]\.'),
        ("groups/click/entity", "items", r'Unknown entity "items" in \[groups\.click\]\. Did you mean "item"\?'),
        ("groups/click/actions", [], r"Expected at least one action in \[groups\.click\]\. Received: actions=\[\]\."),
        ("groups/click/actions", ["a", "a"], r"Expected each name once for groups\.click\.actions\. Received:"),
        ("groups/click/max_length", -3, r"max_length must be positive\. Received: max_length=-3 in \[groups"),
        ("groups/click/width", -1, r"width must not be negative\. Received: width=-1 in \[groups\.click\]\."),
        ("groups/click/columns", {"time": "t"}, r'Unknown column "time" in \[groups\.click\.columns\]\.'),
        ("tasks/next/group", "clik", r'Unknown group "clik" in \[tasks\.next\]\. Did you mean "click"\?'),
        ("tasks/next/actions", ["bay"], r'Unknown action "bay" in \[tasks\.next\]\. Did you mean "buy"\?'),
        ("tasks/next/actions", ["buy", "buy"], r"Expected each name once for tasks\.next\.actions\."),
        ("tasks/next/negatives", {"uniform": -1}, r"uniform must not be negative\. Received: uniform=-1"),
        ("tasks/next/negatives", {"popularity": -1}, r"popularity must not be negative\. Received: popularity=-1"),
        ("tasks/next/negatives", {"history": -1}, r"history must not be negative\. Received: history=-1"),
        ("tasks/next/negatives", None, r"Expected negatives in \[tasks\.next\], as \{ uniform = 4 \}, or candidates"),
        ("tasks/shown/negatives", {"uniform": 4}, r'\[tasks\.shown\] has candidates = "impressions" and negatives\.'),
        ("tasks/shown/negatives", {"unseen": False}, r'\[tasks\.shown\] has .* = "impressions" and negatives\.'),
        ("tasks/shown/actions", ["buy"], r"actions in \[tasks\.shown\] have no effect: .* label .*=\['buy'\]\. L"),
        *[
            (f"tasks/next/{key}", value,
             rf"{key} in \[tasks\.next\] has no effect: it is of impressions, .* stands in \[groups\.click\]\.$")
            for key, value in (("columns", {"user_id": "user"}), ("file", "x.csv"), ("timestamp_format", "day"))
        ],
        ("tasks/next/negatives", {"popularity": 2, "unseen": False},
         r"unseen in \[tasks\.next\.negatives\] has no effect without uniform or history: draws by popularity"),
        ("tasks/next/negatives/exclude", "ever", r"Unknown value 'ever' for tasks\.next\.negatives\.exclude\. Valid: "),
        ("tasks/next/context", {"dense": ["price"]}, r'\[tasks\.next\.context\] needs candidates = "impressions"'),
        ("tasks/shown/of_request", ["device"], r'Unknown of_request "device" in \[tasks\.shown\]'),
        *[
            ("tasks/shown", {"group": "click", "candidates": "impressions", "position": "at", "of_request": [column],
                             "context": {"features": {"tags": {"table": "item", "max_values": 2}}, "dense": ["at"]}},
             rf"with one value in of_request of \[tasks\.shown\], .* Leave out \"{column}\"\.")
            for column in ("tags", "at")
        ],
        ("tasks/shown/ties", "ordered", r'\[tasks\.shown\] has impressions, .* use ties = "strict"\.'),
        ("tasks/shown/columns", {"lable": "l"}, r'Unknown column "lable" in \[tasks\.shown\.columns\]\. Did you'),
        ("tasks/shown/context", {"features": {"slot": "slots"}},
         r'Unknown table "slots" in \[tasks\.shown\.context\.features\.slot\]\.'),
        ("time", {"unit": "days"}, r'Unknown unit "days" in \[time\]\. Did you mean "day"\?'),
        ("time", {"buckets": 0}, r"buckets must be between 1 and 32\. Received: buckets=0 in \[time\]\."),
        ("split", {"kind": "by_time"}, r"Expected 0 < validation_from < test_from in \[split\]"),
        ("split", {"kind": "by_time", "validation_from": 5, "test_from": 5}, r"validation_from=5, test_from=5\."),
        ("split", {"kind": "by_time", "validation_from": 1_706_054_400, "test_from": 1_705_276_800},
         r"Received: validation_from=2024-01-24, test_from=2024-01-15\."),
        ("split", {"validation_from": 5}, r'\[split\] has validation_from or test_from, which need kind = "by_time"\.'),
    ],
)  # fmt: skip
def test_refusals(path, value, match):
    with pytest.raises(ValueError, match=match):
        schema_from_dict(changed(path, value))


@pytest.mark.parametrize("name", ["rank", "score", "encode_user", "serving_default", "now", "_next"])
def test_a_task_may_be_called_as_a_signature_or_an_input_that_is_of_no_task(name):
    assert schema_from_dict(changed(f"tasks/{name}", {"group": "click", "negatives": {"uniform": 1}})).tasks[name]


def test_history_that_is_all_excluded_is_refused():
    raw = changed("tasks/next/negatives", {"history": 2, "exclude": "ever_chosen"})
    assert schema_from_dict(raw)  # What users searched may be a negative.
    del raw["groups"]["search"]
    match = r'\[tasks\.next\.negatives\] has history = 2, and exclude = "ever_chosen", which leaves nothing of it'
    with pytest.raises(ValueError, match=match):
        schema_from_dict(raw)
    raw["tasks"]["next"]["actions"] = ["view", "buy"]
    with pytest.raises(ValueError, match=match):
        schema_from_dict(raw)
    raw["tasks"]["next"]["actions"] = ["buy"]
    assert schema_from_dict(raw)  # What they viewed and did not buy.
    raw["tasks"]["next"] = {"group": "click", "negatives": {"history": 2}}
    assert schema_from_dict(raw)


def test_prepared_means_that_every_size_is_there():
    raw = changed("tables/item/rows", 5)
    assert not schema_from_dict(raw).prepared
    raw["tables"]["category"]["rows"] = 3
    assert not schema_from_dict(raw).prepared
    raw["entities"]["item"]["rows"] = 5
    assert schema_from_dict(raw).prepared


def test_time_boundaries_double():
    schema = schema_from_dict(changed("time", {"unit": "hour", "buckets": 4}))
    assert schema.time.boundaries == (3_600, 7_200, 14_400)


def test_a_table_that_candidates_and_behaviors_do_not_share_has_no_affinity():
    raw = changed("user", {"features": {"category": "category", "age": "age"}})
    raw["tables"]["age"] = {"dim": 2}
    raw["tasks"]["next"]["affinity"] = ["item", "category"]
    schema_from_dict(raw)
    raw["tasks"]["next"]["affinity"] = ["age"]
    with pytest.raises(
        ValueError, match=r'Table "age" in \[tasks\.next\.affinity\] has no effect: .* Valid: category, item\.$'
    ):
        schema_from_dict(raw)


@pytest.mark.parametrize(
    ("path", "place"),
    [("user", r"\[user\]"), ("tasks/shown/context", r"\[tasks\.shown\.context\]")],
)
def test_only_side_features_of_entities_are_links(path, place):
    raw = changed(path, {"features": {"kind": "category"}})
    schema_from_dict(raw)
    raw["tables"]["category"]["dim"] = 0
    with pytest.raises(ValueError, match=rf'dim > 0 in {place}: with dim = 0 .*\. Received: table "category"\.'):
        schema_from_dict(raw)
