"""Decides what the schema says: entities, groups, tasks, time and split; with the reasons in words."""

import itertools
from collections.abc import Iterator

import polars as pl

from atrank_tf.description.behaviors import (
    DAY,
    ENOUGH,
    Cut,
    find_cut,
    history_length,
    share_of_one_moment,
    time_unit,
    users_with,
)
from atrank_tf.description.columns import Column, overlap
from atrank_tf.description.events import Events
from atrank_tf.description.plan_features import plan_features
from atrank_tf.description.plans import EntityPlan, GroupPlan, Plan, TaskPlan, columns_of
from atrank_tf.description.roles import Objects, Roles, is_same_entity, shown_and_chosen
from atrank_tf.description.sides import Tables, name_of, slug
from atrank_tf.description.tasks import impression_tasks, sampled_tasks
from atrank_tf.description.words import ID_WORDS, bare, words_of

_LONGEST_HISTORY = 64
_MANY, _MUCH = 20, 0.2
"""Of more than so many users none does more than such a share of all."""
_KNOWN = 0.8
"""Share of validation's targets that must be of known users for a split by time."""


def decide(roles: Roles) -> Plan:
    """Decides what the schema says of tables whose roles are known."""
    entities, of_column = _entities(roles)
    groups = _groups(roles, of_column)
    tasks = impression_tasks(roles, of_column, groups)
    tasks += sampled_tasks(groups, tasks)
    _name_apart(groups, tasks)
    for group in groups:
        longest = history_length(group.frame)
        group.max_length = min(max(-(-longest // 8) * 8, 8), _LONGEST_HISTORY)
        group.notes.append(f"95 of 100 users have at most {longest:,}.")
    made_up = share_of_one_moment(max((group.frame for group in groups), key=len)) > 0.9
    unit, buckets = time_unit([group.frame for group in groups])
    time_note = "The largest unit up to the median gap between a user's timestamps, or up to a 4,096th of all time."
    if made_up:
        unit, buckets = "day", 1
        time_note = "Nearly all rows have one of three timestamps: they tell nothing, so no model sees them."
    cut, split_note, split_question = _split(tasks, groups, made_up)
    used = [group.entity for group in groups]
    entities = [entity for entity in entities if entity in used]
    plan = Plan(
        roles=roles,
        entities=entities,
        groups=groups,
        tasks=tasks,
        tables=Tables(),
        user=roles.profile,
        user_sides=[],
        user_left_out=[],
        unit=unit,
        buckets=buckets,
        time_note=time_note,
        cut=cut,
        split_note=split_note,
        split_question=split_question,
    )
    plan_features(plan)
    return plan


def _entities(roles: Roles) -> tuple[list[EntityPlan], dict[int, EntityPlan]]:
    """Returns the entities, and the one of each column of objects (by its `id`)."""
    entities: list[tuple[EntityPlan, list[Column]]] = []
    of_column: dict[int, EntityPlan] = {}
    for event in sorted((*roles.behaviors, *roles.impressions), key=lambda e: e.object.distinct, reverse=True):
        column = event.object
        known = next((e for e, columns in entities if any(is_same_entity(column, c) for c in columns)), None)
        if known is None:
            fitting = [c for c in roles.catalogs if is_same_entity(c.key, column) or _named_by_file(c, column)]
            objects = max(fitting, key=lambda c: (round(overlap(c.key, column), 1), _facts(c)), default=None)
            name = slug("_".join(word for word in column.words if word not in ID_WORDS) or column.name)
            if objects is not None:
                known = next((e for e, _ in entities if e.objects is objects), None)
            numbered = (f"{name}_object{number}" for number in itertools.count(2))
            names = itertools.chain((name, f"{name}_object"), numbered)
            name = next(n for n in names if n not in {"user", *(e.name for e, _ in entities)})
            if known is None:
                id_column = name_of(objects.key if objects else column)
                known = EntityPlan(name, id_column, objects, objects.table.file if objects else "")
                entities.append((known, []))
        next(columns for e, columns in entities if e is known).append(column)
        of_column[id(column)] = known
    for known, columns in entities:
        if known.objects is not None:
            columns.append(known.objects.key)
        known.values = max(column.distinct for column in columns)
    return [entity for entity, _ in entities], of_column


def _facts(objects: Objects) -> int:
    """Returns how many columns of a catalog say something that more than one object may have."""
    return sum(column.distinct >= 2 and not column.is_key for column in objects.rest)


def _named_by_file(objects: Objects, column: Column) -> bool:
    """Returns whether the catalog's file is called as the column is, and their values overlap."""
    return (
        bool(set(bare(words_of(objects.table.stem))) & set(bare(column.words))) and overlap(objects.key, column) > 0.05
    )


def _groups(roles: Roles, of_column: dict[int, EntityPlan]) -> list[GroupPlan]:
    groups = []
    for event in roles.behaviors:
        entity = of_column[id(event.object)]
        frame = event.frame
        counts = frame["action"].value_counts(sort=True)
        notes = []
        if event.action is None:
            actions = [slug(event.table.stem)]
            frame = frame.with_columns(action=pl.lit(actions[0]))
        else:
            yes = event.action.yes
            actions = [yes] if yes else counts["action"].to_list()
            frame = frame.filter(pl.col("action").is_in(actions))
            shown = [f"{action} {rows:,}" for action, rows in counts.iter_rows()]
            notes.append(f"Rows of each action: {', '.join(shown)}.")
        columns = columns_of(event, entity, {"action": event.action})
        notes.insert(0, f"{event.table.file}: {len(frame):,} rows of {frame['user'].n_unique():,} users.")
        groups.append(
            GroupPlan(
                name=slug(event.table.stem),
                entity=entity,
                file=event.table.file,
                columns=columns,
                timestamp_format=event.time.timestamp_format or "",
                actions=actions,
                frame=frame,
                notes=notes,
                questions=[*event.questions, *_doubts(event, frame, roles)],
            )
        )
    return groups


def _doubts(event: Events, frame: pl.DataFrame, roles: Roles) -> Iterator[str]:
    """Yields questions on a log of behaviors beside the others."""
    others = [other.table.file for other in roles.behaviors if _tells_moments(other.time)]
    if event.time.is_whole_days and others:
        yield (
            f"{event.time.name} is the day alone, and {others[0]} tells moments: what was done on a day is taken to "
            "be done at its midnight, before all else of that day. Write moments, if they are known."
        )
    for other in roles.behaviors:
        if other is not event and (lists := shown_and_chosen(event, other)) is not None:
            yield (
                f"This seems to be what each {lists.name} showed, and {other.table.file} what was chosen. To rank "
                "what is shown, join the two to impressions: each row of this file, and a label, 1 where "
                f"{other.table.file} has it."
            )
    actions = frame["action"].unique().to_list()
    alike = sorted(one for one in actions if any(one != other and one.lower() == other.lower() for other in actions))
    if alike:
        yield f"Are {' and '.join(alike)} one action? Then write them alike in the log."
    users = frame["user"].value_counts(sort=True)
    if len(users) > _MANY and users["count"][0] > _MUCH * len(frame):
        yield (
            f"{users['user'][0]} did {users['count'][0] / len(frame):.0%} of all this. Is that one user? If it stands "
            "for whoever is not known, leave it out of the log."
        )


def _tells_moments(time: Column) -> bool:
    """Returns whether most of many timestamps are no midnights."""
    return time.distinct > _MANY and float((time.seconds() % DAY != 0).mean() or 0.0) > 0.5  # type: ignore[arg-type]


def _name_apart(groups: list[GroupPlan], tasks: list[TaskPlan]) -> None:
    """Gives groups and tasks names that no other has."""
    taken = {"user"}
    both: list[GroupPlan | TaskPlan] = [*groups, *tasks]
    for one in both:
        kind = "group" if isinstance(one, GroupPlan) else "task"
        names = (one.name, f"{one.name}_{kind}", *(f"{one.name}_{number}" for number in range(2, 99)))
        one.name = next(name for name in names if name not in taken)
        taken.add(one.name)


def _split(tasks: list[TaskPlan], groups: list[GroupPlan], made_up: bool) -> tuple[Cut | None, str, str]:
    """Chooses the split: the cut of a split by time, or None for the last targets of each user; and why."""
    targets = {task.name: task.positives.select("user", "time") for task in tasks}
    for task in tasks:
        if task.shown_frame is not None:
            chosen = task.shown_frame.filter(pl.col("label") > 0)  # Lists of which nothing was chosen compare nothing.
            targets[task.name] = chosen.select("user", "time", "request").unique().select("user", "time")
    cut = find_cut(targets, [group.frame for group in groups])
    enough = min(users_with(target, 3) for target in targets.values())
    lists = any(task.kind == "impressions" for task in tasks)
    if cut is not None and not made_up and (lists or cut.known >= _KNOWN or enough < 0.5):
        parts = "; ".join(f"{name} {a:,} / {b:,} / {c:,}" for name, (a, b, c) in cut.parts.items())
        note = (
            f"Training / validation / test: {parts}. {cut.known:.0%} of validation's targets are of users known before."
        )
        small = [name for name, part in cut.parts.items() if min(part) < ENOUGH]
        return cut, note, f"Is {', '.join(small)} worth measuring with so few targets?" if small else ""
    why = "times are made up" if made_up else "time leaves a part empty, wherever it is cut"
    if cut is not None and not made_up:
        why = (
            f"of the last fifth's targets only {cut.known:.0%} are of users known before, so a split by time would "
            "measure how new users are ranked"
        )
    note = f"The last target of each user is test, the one before validation: {why}."
    question = "" if enough > 0.5 else f"Only {enough:.0%} of users have the three targets that this needs."
    return None, note, question
