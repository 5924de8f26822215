"""Decides what is predicted, and beside which negatives."""

from collections import defaultdict

import polars as pl

from atrank_tf.description.behaviors import DAY, order_of, repeat_share, tied_share, ties_keep_log_order
from atrank_tf.description.events import Events
from atrank_tf.description.plans import EntityPlan, GroupPlan, TaskPlan, columns_of
from atrank_tf.description.roles import Roles
from atrank_tf.description.sides import slug
from atrank_tf.description.words import WANTED_WORDS, words_of

COMES_BACK, HARDLY = 0.1, 0.01
"""Shares of repeated choices from which on users come back to the same things, and up to which they do not."""
_LED = 0.3
"""Share of choices that other behaviors have, too, from which on most negatives are drawn of these."""


def impression_tasks(roles: Roles, of_column: dict[int, EntityPlan], groups: list[GroupPlan]) -> list[TaskPlan]:
    """Makes a task of each table of impressions, and a group of what was chosen where no table of behaviors has it."""
    tasks = []
    for shown in roles.impressions:
        entity, frame = of_column[id(shown.object)], shown.frame
        positives = frame.filter(pl.col("label") > 0)
        known = _group_of(positives, [group for group in groups if group.entity is entity])
        group = known or _group_of_chosen(shown, entity, positives)
        groups += [] if known else [group]
        lists = frame.group_by("user", "request").agg(pl.len(), pl.col("label").sum())
        name = slug(shown.table.stem).removeprefix("next_")
        task = TaskPlan(f"next_{name}", group, [], "impressions", positives, [])
        task.shown, task.shown_frame = shown, frame
        task.one_positive = float((lists["label"] == 1).mean() or 0.0)  # type: ignore[arg-type]
        task.notes.append(
            f"{shown.table.file}: {len(lists):,} lists of {len(frame) / len(lists):.1f} objects on average, "
            f"{len(positives):,} chosen; {task.one_positive:.0%} of the lists have exactly one."
        )
        task.questions += shown.questions
        if shown.request is shown.time:
            task.questions.append(
                "No column says which rows are one list: what a user was shown at one time is taken for one."
            )
        tasks.append(task)
    return tasks


def _group_of(positives: pl.DataFrame, groups: list[GroupPlan]) -> GroupPlan | None:
    """Returns the group that has most of what was chosen of lists, then or later; None if none has a third of it."""
    found: list[tuple[float, int, GroupPlan]] = []
    for group in groups:
        for action in group.actions:
            did = group.frame.filter(pl.col("action") == action)
            pairs = positives.join(did.select("user", "id", at="time"), on=["user", "id"], how="inner")
            then = pairs.filter(pl.col("at") >= pl.col("time") - DAY).select("user", "id", "time").n_unique()
            found.append((round(then / max(len(positives), 1), 1), -abs(len(did) - len(positives)), group))
    best = max(found, key=lambda kind: kind[:2], default=None)
    return best[2] if best is not None and best[0] >= _LED else None


def _group_of_chosen(shown: Events, entity: EntityPlan, positives: pl.DataFrame) -> GroupPlan:
    """Returns a group of the chosen rows of impressions, for logs that have them nowhere else."""
    chosen = str(shown.label.present.max()) if shown.label is not None else ""
    return GroupPlan(
        name=f"{slug(shown.table.stem)}_chosen",
        entity=entity,
        file=shown.table.file,
        columns=columns_of(shown, entity, {"action": shown.label}),
        timestamp_format=shown.time.timestamp_format or "",
        actions=[chosen],
        frame=positives.select("user", "id", "time", action=pl.lit(chosen)),
        notes=[f"What was chosen of {shown.table.file}, since no other file has it. Other rows are unknown actions."],
        questions=[],
    )


def sampled_tasks(groups: list[GroupPlan], with_lists: list[TaskPlan]) -> list[TaskPlan]:
    """Makes tasks of entities without impressions: one for each group, or only what the other behaviors lead to."""
    by_entity: dict[int, list[GroupPlan]] = defaultdict(list)
    for group in groups:
        if all(task.group.entity is not group.entity for task in with_lists):
            by_entity[id(group.entity)].append(group)
    known = any(group.entity.objects for group in groups)
    tasks: list[TaskPlan] = []
    for own in by_entity.values():
        if known and own[0].entity.objects is None and (with_lists or len(by_entity) > 1):
            own[0].questions.append(
                f"Nothing is predicted of {own[0].entity.name}: it has no catalog, as other entities have. If it is to "
                "be ranked, add a task as those below."
            )
            continue
        tasks += _of_entity(own)
    return tasks


def _of_entity(groups: list[GroupPlan]) -> list[TaskPlan]:
    kinds = [(group, action) for group in groups for action in group.actions]
    parts = [group.frame.filter(pl.col("action") == action).select("user", "id", "time") for group, action in kinds]
    index, notes, questions = _wanted_kind(kinds, parts)
    if index is None:
        tasks = [TaskPlan(f"next_{slug(group.name)}", group, [], "", group.frame, []) for group in groups]
        for task in tasks:
            task.questions += questions
        return [_with_negatives(task, 0.0) for task in tasks]
    group, action = kinds[index]
    name = action if len(group.actions) > 1 else group.name
    task = TaskPlan(f"next_{slug(name)}", group, [action] if len(group.actions) > 1 else [], "", parts[index], notes)
    task.questions += questions
    others = pl.concat([part for place, part in enumerate(parts) if place != index])
    return [_with_negatives(task, order_of(others, parts[index]).before)]


def _wanted_kind(
    kinds: list[tuple[GroupPlan, str]], parts: list[pl.DataFrame]
) -> tuple[int | None, list[str], list[str]]:
    """Returns which kind of behavior is predicted, of several on the same objects; None for all of them alike."""
    if len(kinds) < 2:
        return None, [], []
    names = [
        action if len(group.actions) > 1 or action == group.name else f"{group.name} {action}"
        for group, action in kinds
    ]
    by_name = [place for place, name in enumerate(names) if WANTED_WORDS & set(words_of(name))]
    orders = {}
    for place, part in enumerate(parts):
        for other, before in enumerate(parts):
            if place != other and len(part) < len(before):
                orders[other, place] = order_of(before, part)
    led = {later for (_, later), order in orders.items() if order.leads}
    ends = [later for later in led if not any(order.leads for (one, _), order in orders.items() if one == later)]
    words = " and ".join(f"{names[place]} ({len(parts[place]):,})" for place in range(len(kinds)))
    chosen = [place for place in by_name if place in ends] or by_name or ends
    if not chosen:
        return (
            None,
            [f"All kinds count as positive: {words}."],
            [f"Is one of these kinds the one that matters ({words})? Then name it in actions."],
        )
    index = min(chosen, key=lambda place: len(parts[place]))
    notes = [f"Of {words}, {names[index]} is what is wanted:"]
    for (one, later), order in orders.items():
        if later == index:
            notes.append(
                f"{order.before:.0%} of its pairs of user and object have {names[one]}, {order.first:.0%} not later."
            )
    few = 5 * len(parts[index]) < sum(len(part) for part in parts)
    sure = index in ends and len(chosen) == 1 and (index in by_name or not few)
    return index, notes, [] if sure else [f"Is {names[index]} what is to be predicted? The others are only read."]


def _with_negatives(task: TaskPlan, led: float) -> TaskPlan:
    """Chooses the negatives of a task, and the rule for ties.

    Args:
        task: the task.
        led: of the pairs of user and object of the task, the share that other behaviors have, too.
    """
    repeats = repeat_share(task.positives)
    task.notes.append(f"{repeats:.1%} of {len(task.positives):,} choices are of what the same user chose before.")
    if repeats >= COMES_BACK:
        task.kind, task.negatives = "repeats", "{ uniform = 6, history = 3 }"
        task.notes.append("So things chosen before, and not now, are among the candidates, as on a real page.")
    elif led >= _LED:
        excluded = ', exclude = "ever_chosen"' if repeats <= HARDLY else ""
        task.kind, task.negatives = "funnel", f"{{ uniform = 8, history = 24{excluded} }}"
        task.notes.append(
            f"{led:.0%} of what is chosen was in the user's other behaviors: which of them it is, most negatives ask."
        )
    elif repeats > HARDLY:
        task.kind, task.negatives = "repeats", "{ uniform = 8, history = 1 }"
        task.questions.append(
            f"Do users choose the same thing again? {repeats:.1%} of choices say so. If not: "
            '{ uniform = 9, exclude = "ever_chosen" }.'
        )
    else:
        task.kind, task.negatives = "once", '{ uniform = 9, exclude = "ever_chosen" }'
        task.notes.append("Each thing is chosen once: what a user chose at any other time is no negative.")
    tied = tied_share(task.group.frame)
    whole_days = bool((task.group.frame["time"] % DAY == 0).all())
    if whole_days and tied > 0.2 and task.kind == "once" and ties_keep_log_order(task.group.frame):
        task.ordered = True
        task.questions.append(
            f"Times are whole days, and {tied:.0%} of rows share one with another of the user: their order in the file "
            'is taken for their order in time. If one day is one basket, write ties = "strict".'
        )
    return task
