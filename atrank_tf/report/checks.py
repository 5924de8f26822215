"""What a person should look at before training: leakage, ties, empty parts, drift."""

from collections.abc import Iterator, Mapping
from typing import Any

from atrank_tf.data.records import DUPLICATE
from atrank_tf.schema import Ties


def checks(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the checks, as JSON types.

    Each has `about`, what it is of; `found` and `of`, two counts; `says`, what was counted and what it means; `look`,
    whether it is more than it should be.
    """
    keys = ("about", "found", "of", "says", "look")
    return [dict(zip(keys, check, strict=True)) for check in (*_of_timelines(report), *_of_tasks(report))]


def _of_timelines(report: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str, bool]]:
    for label, file in report["files"].items():
        repeated = file["dropped"].get(DUPLICATE, {"rows": 0})["rows"]
        if label.startswith("behaviors/"):
            yield (
                label,
                repeated,
                file["read"],
                "exact duplicates, dropped. Many of them: is the log complete, and its clock fine enough?",
                repeated > 0.01 * file["read"],
            )
    for name, group in report["groups"].items():
        behaviors = group["behaviors"]
        yield f"group {name}", group["future"], behaviors, "behaviors after the moment of prepare", group["future"] > 0
        yield (
            f"group {name}",
            group["midnights"],
            behaviors,
            "behaviors at midnight UTC. If nearly all are, the log knows days only, not what came first on a day",
            False,
        )
    alike = report["users_of_one_moment"]
    yield (
        "users",
        alike,
        report["users"],
        "users with several behaviors, all of one moment: nothing comes before anything",
        alike > 0.01 * report["users"],
    )


def _of_tasks(report: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str, bool]]:
    for task, content in report["tasks"].items():
        tied = "ordered by the log in the target's own group, left out in others"
        if content["ties"] == Ties.STRICT:
            tied = "left out of its history, and no leak"
        for part, counts in content["parts"].items():
            about, targets = f"{task}, {part}", counts["targets"]
            if not targets:
                yield about, 0, 0, "targets: this part is empty. See [split] of the schema", True
                continue
            same = counts["same_moment"]
            yield about, same, targets, f"targets with other behaviors at the same moment: {tied}", same > 0.2 * targets
            if part == "training":
                nearly = 0.95
                blank = [column for column, (unknown, of) in counts["unknown"].items() if unknown > nearly * of]
                says = "columns unknown in nearly all targets"
                if blank:
                    says += f": {', '.join(blank)}. Of a catalog: are its ids written as those of the log?"
                yield about, len(blank), len(counts["unknown"]), says, bool(blank)
            else:
                unseen, chosen = counts["unseen"], counts["positives"]
                says = "chosen objects that were never chosen in training"
                yield about, unseen, chosen, says, unseen > 0.2 * chosen
                yield about, counts["new_users"], counts["users"], "users without a training target", False
        for part, measures in content["drift"].items():
            drifted = [name for name, measure in measures.items() if measure["drifted"]]
            says = "measures unlike training" + (f": {', '.join(drifted)}" if drifted else "")
            yield f"{task}, {part}", len(drifted), len(measures), says, bool(drifted)
