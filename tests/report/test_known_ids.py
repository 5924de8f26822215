"""Ids that are known because they were chosen: a log in which nothing else tells a click."""

from pathlib import Path
from typing import Any

import pytest

from atrank_tf.preparation import prepare
from atrank_tf.report import load_report
from atrank_tf.schema import schema_from_dict

DAY = 86_400
USERS, SHOWN = 40, 3


def _schema(min_count: int) -> Any:
    return schema_from_dict(
        {
            "tables": {"item": {"dim": 2, "min_count": min_count}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"click": {"entity": "item", "actions": ["click", "book"]}},
            "tasks": {"next": {"group": "click", "candidates": "impressions"}},
            "split": {"kind": "by_time", "validation_from": 20 * DAY, "test_from": 30 * DAY},
        }
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each id is shown once. The one that is clicked is booked, too, and so used twice."""
    folder = tmp_path_factory.mktemp("logs")
    clicks, shown = ["user_id,item_id,action,timestamp"], ["request_id,user_id,timestamp,item_id,label"]
    for request in range(3 * USERS):
        moment = DAY * (10 * (request // USERS) + 11) + request
        ids = [1000 + SHOWN * request + place for place in range(SHOWN)]
        clicks += [f"{request % USERS},{ids[0]},{action},{moment}" for action in ("click", "book")]
        shown += [f"{request},{request % USERS},{moment},{item},{int(item == ids[0])}" for item in ids]
    for name, rows in (("behaviors/click", clicks), ("impressions/next", shown)):
        path = folder / f"{name}.csv"
        path.parent.mkdir()
        path.write_text("\n".join(rows) + "\n")
    return folder


def _check(records: str) -> dict[str, Any]:
    (check,) = [each for each in load_report(records)["checks"] if "whose id is known" in each["says"]]
    return dict(check)


def test_ids_that_are_known_by_their_clicks_are_told(logs: Path, tmp_path: Path) -> None:
    check = _check(prepare(str(logs), _schema(2), str(tmp_path / "records")).path)
    assert (check["about"], check["found"], check["of"], check["look"]) == ("next, training", USERS, USERS, True)
    assert check["says"].startswith(
        "chosen candidates whose id is known; of those left 0.0%. In validation 0.0% and 0.0%. So what made the "
    )


@pytest.mark.parametrize("min_count", [1, 1000])
def test_where_ids_tell_nothing_nothing_is_to_look_at(logs: Path, tmp_path: Path, min_count: int) -> None:
    """Every id of training is known, or none is."""
    check = _check(prepare(str(logs), _schema(min_count), str(tmp_path / "records")).path)
    assert check["found"] == (USERS if min_count == 1 else 0)
    assert not check["look"]
