"""Decides tables and features of entities, users and lists."""

from dataclasses import replace

import polars as pl

from atrank_tf.description.behaviors import never_chosen_share
from atrank_tf.description.columns import Column
from atrank_tf.description.events import Events, features_in_log
from atrank_tf.description.plans import EntityPlan, Plan
from atrank_tf.description.roles import Objects
from atrank_tf.description.sides import Side, sort_sides
from atrank_tf.description.words import PLACE_WORDS, TITLE_WORDS


def plan_features(plan: Plan) -> None:
    """Fills in tables and features of entities, users and tasks."""
    tables = plan.tables
    for entity in plan.entities:
        keys = [e.object for e in (*plan.roles.behaviors, *plan.roles.impressions) if _is_of(e, entity, plan)]
        column = entity.objects.key if entity.objects else max(keys, key=lambda key: key.distinct)
        if not entity.objects:
            _take_from_log(entity, plan)
        file = entity.file or f"ids of {entity.name}"
        entity.table = tables.add(column, file, entity.name, entity.name)
        plan.min_counts[entity.table] = _min_count(entity, plan)
    for entity in plan.entities:
        if entity.objects:
            entity.sides, entity.left_out = sort_sides(
                entity.objects.rest,
                lambda column, e=entity: tables.add(column, e.file, e.name),  # type: ignore[misc]
                names_inputs=False,
                key=entity.id_column,
            )
            entity.title = _title(entity)
    for task in plan.tasks:
        if task.shown is not None:
            task.sides, task.left_out = sort_sides(
                task.shown.rest,
                lambda column, t=task: tables.add(column, t.shown.table.file, t.group.entity.name),  # type: ignore[misc]
                names_inputs=True,
                label=task.shown.label,
            )
            place = [s.column for s in task.sides if PLACE_WORDS & set(s.column.words) and s.column.is_whole]
            task.sides = [replace(s, table="", question="") if s.column in place else s for s in task.sides]
            task.position = next((s.name for s in task.sides if s.column in place), "")
            task.of_request = [side.name for side in task.sides if _same_in_requests(side.column, task.shown)]
    if plan.user is not None:
        file = plan.user.table.file
        plan.user_sides, plan.user_left_out = sort_sides(
            plan.user.rest, lambda column: tables.add(column, file, "user"), names_inputs=True
        )
    _without_ids(plan)
    used = {entity.table for entity in plan.entities}
    used |= {side.table for sides in _all_sides(plan) for side in sides}
    tables.uses = {name: uses for name, uses in tables.uses.items() if name in used}


def _same_in_requests(column: Column, shown: Events) -> bool:
    """Returns whether a column of a list tells of the whole request: one value in each, of lists of several rows."""
    if column.has_several or shown.request is None:
        return False
    rows = pl.DataFrame({"user": shown.user.texts, "request": shown.request.texts, "value": column.texts})
    values = rows.group_by("user", "request").agg(pl.col("value").n_unique(), pl.len())
    return bool((values["value"] == 1).all()) and bool((values["len"] > 1).any())


def _title(entity: EntityPlan) -> str:
    """Returns the column of a catalog that people read: one that is named so and no feature; "" for none."""
    features = [side.column for side in entity.sides]
    rest = entity.objects.rest if entity.objects else ()
    named = [c for c in rest if TITLE_WORDS & set(c.words) and c not in features and c.distinct > 1]
    return named[0].name if named else ""


def _all_sides(plan: Plan) -> list[list[Side]]:
    return [plan.user_sides, *(entity.sides for entity in plan.entities), *(task.sides for task in plan.tasks)]


def _is_of(event: Events, entity: EntityPlan, plan: Plan) -> bool:
    return any(g.entity is entity and g.file == event.table.file for g in plan.groups) or any(
        t.group.entity is entity and t.shown is event for t in plan.tasks
    )


def _take_from_log(entity: EntityPlan, plan: Plan) -> None:
    """Has an entity without a catalog take the facts that a log of behaviors repeats for each object."""
    for event in plan.roles.behaviors:
        if _is_of(event, entity, plan) and (facts := features_in_log(event)):
            first = pl.DataFrame({c.name: c.values for c in (event.object, *facts)}).unique(
                event.object.name, keep="first"
            )
            columns = [Column(c.name, first[c.name], typed=c.typed) for c in facts]
            key = Column(event.object.name, first[event.object.name], typed=event.object.typed)
            entity.objects, entity.file = Objects(event.table, key, tuple(columns)), event.table.file
            return


def _min_count(entity: EntityPlan, plan: Plan) -> tuple[int, str]:
    """Returns `min_count` of the ids' table, and why: 5 where rare objects have few of the behaviors."""
    until = plan.cut.validation_from if plan.cut else None
    frames = [group.frame.select("id", "time") for group in plan.groups if group.entity is entity]
    rows = pl.concat(frames)
    counts = (rows.filter(pl.col("time") < until) if until else rows)["id"].value_counts()["count"]
    rare = counts.filter(counts < 5)
    share = float(rare.sum()) / max(float(counts.sum()), 1)
    note = f"{len(rare):,} of {len(counts):,} objects have fewer than 5 behaviors{' in training' if until else ''}"
    if len(rare) > 0.1 * len(counts) and share < 0.1 and len(counts) > 100:
        return 5, f"{note}, {share:.1%} of all: they share one embedding."
    return 1, f"{note}, {share:.1%} of all."


def _without_ids(plan: Plan) -> None:
    """Takes the table of ids from entities whose objects come and go, so that none can be learned by heart."""
    for task in plan.tasks:
        entity = task.group.entity
        if task.shown_frame is None or plan.cut is None or not entity.sides or not entity.table:
            continue
        never = never_chosen_share(task.shown_frame, plan.cut.validation_from)
        if never > 0.5:
            entity.table_note = (
                f"{never:.0%} of what validation shows was never chosen before: ids come and go, so objects are known "
                "by their columns and by what the user did with them (no table of ids)."
            )
            if not any(side.table == entity.table for sides in _all_sides(plan) for side in sides):
                del plan.min_counts[entity.table]
            elif _only_in_catalogs(entity.table, plan):
                _link(entity, plan)
            entity.table = ""


def _only_in_catalogs(table: str, plan: Plan) -> bool:
    """Returns whether neither users nor lists have values of a table."""
    return not any(side.table == table for sides in (plan.user_sides, *(t.sides for t in plan.tasks)) for side in sides)


def _link(entity: EntityPlan, plan: Plan) -> None:
    """Links the objects of an entity, by their ids, to those whose catalogs name the ids."""
    del plan.min_counts[entity.table]
    for other in plan.entities:
        note = f"ids of catalog {entity.name}"
        other.sides = [replace(s, note=note, links=s.name) if s.table == entity.table else s for s in other.sides]
    own = entity.objects.key  # type: ignore[union-attr]  # It has sides, so there is a catalog.
    entity.sides.append(Side(own, entity.table, "what other catalogs name", links=f"{entity.name}_link"))
