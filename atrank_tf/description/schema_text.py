"""Writes a plan as a schema file, with what was found and what is not sure as comments."""

import textwrap
from collections.abc import Iterator

from atrank_tf.description.plans import EntityPlan, GroupPlan, Plan, TaskPlan, columns_of, day
from atrank_tf.description.sides import Side, dimension
from atrank_tf.schema import toml_key, toml_value

_WIDTH = 118


def schema_text(plan: Plan, logs: str) -> str:
    """Returns the text of `schema.toml`.

    Args:
        plan: what the schema says.
        logs: the folder that was described.
    """
    head = [
        *_note(f"What is in {logs}, as python -m atrank_tf.describe read it. docs/schema.md has every key."),
        "# Lines that begin with #? are questions: what the numbers did not settle.",
    ]
    parts = [
        head,
        list(_unused(plan)),
        list(_tables(plan)),
        *(list(_entity(entity)) for entity in plan.entities),
        *(list(_group(group)) for group in plan.groups),
        *(list(_task(task, plan)) for task in plan.tasks),
        list(_user(plan)),
        [*_note(plan.time_note), "[time]", f'unit = "{plan.unit}"', f"buckets = {plan.buckets}"],
        list(_split(plan)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def questions(text: str) -> list[str]:
    """Returns the questions of a schema or experiment text, one line each."""
    found: list[str] = []
    before = ""
    for line in text.splitlines():
        if line.startswith("#? "):
            found.append(line.removeprefix("#? "))
        elif line.startswith("#  ") and before.startswith("#?"):
            found[-1] += " " + line.removeprefix("#").strip()
            line = "#?"
        before = line
    return found


def _unused(plan: Plan) -> Iterator[str]:
    for file, why in plan.roles.unused.items():
        yield from _note(f"Not read: {file}: {why}")


def _tables(plan: Plan) -> Iterator[str]:
    yield from _note("Embedding tables. Columns of several files whose values are the same things share one.")
    yield "[tables]"
    ids = {entity.table for entity in plan.entities}
    links = {side.table for entity in plan.entities for side in entity.sides if side.links}
    for name in plan.tables.uses:
        values = plan.tables.values(name)
        entries = {"dim": dimension(values, 64 if name in ids else 32)}
        if name in links:
            entries = {"dim": 0}
            yield from _note(
                "Which objects belong together: these have no embedding, but what a user did with what belongs to a "
                "candidate is counted. Where that tells what is known only later, a task's affinity names the tables "
                "that count."
            )
        note = f"{values:,} values"
        if name in plan.min_counts:
            fewest, why = plan.min_counts[name]
            entries |= {"min_count": fewest} if fewest > 1 else {}
            yield from _note(why)
        shared = sorted({file for file, _ in plan.tables.uses[name]})
        if len(shared) > 1:
            note += f", in {', '.join(shared)}"
        yield f"{toml_key(name)} = {toml_value(entries)}  # {note}"


def _entity(entity: EntityPlan) -> Iterator[str]:
    yield f"[entities.{toml_key(entity.name)}]"
    yield from _note(entity.table_note)
    yield f"id = {toml_value({'column': entity.id_column} | ({'table': entity.table} if entity.table else {}))}"
    if entity.title:
        yield f"name = {toml_value(entity.title)}  # Shown beside ids on pages; no model reads it."
    if entity.file and (entity.sides or entity.title):
        yield f"file = {toml_value(entity.file)}"
        key = entity.objects.key.name if entity.objects else entity.id_column
        if key != entity.id_column:
            yield f"columns = {toml_value({'id': key})}"
    yield from _sides(entity.sides, entity.left_out, f"entities.{toml_key(entity.name)}")


def _sides(sides: list[Side], left_out: list[str], place: str) -> Iterator[str]:
    for line in left_out:
        yield from _note(f"Left out: {line}")
    features = [side for side in sides if side.table]
    dense = [side for side in sides if not side.table]
    if features:
        yield f"[{place}.features]"
    for side in features:
        yield from _note(f"{side.column.name}: {side.note}")
        yield from _question(side.question)
        entries: dict[str, object] = {"table": side.table, **_column(side)}
        if side.column.has_several:
            entries["max_values"] = side.max_values
            if side.column.separator not in ("", " "):
                entries["separator"] = side.column.separator
        value = toml_value(entries) if len(entries) > 1 else toml_value(side.table)
        yield f"{toml_key(side.name)} = {value}"
    if dense:
        yield f"[{place}.dense]"
    for side in dense:
        yield from _note(f"{side.column.name}: {side.note}")
        yield from _question(side.question)
        yield f"{toml_key(side.name)} = {toml_value(({'transform': 'log'} if side.has_tail else {}) | _column(side))}"


def _column(side: Side) -> dict[str, str]:
    return {} if side.name == side.column.name else {"column": side.column.name}


def _group(group: GroupPlan) -> Iterator[str]:
    yield f"[groups.{toml_key(group.name)}]"
    for note in group.notes:
        yield from _note(note)
    for question in group.questions:
        yield from _question(question)
    yield f"file = {toml_value(group.file)}"
    yield f"entity = {toml_value(group.entity.name)}"
    yield f"actions = {toml_value(group.actions)}"
    yield f"max_length = {group.max_length}"
    if group.columns:
        yield f"columns = {toml_value(group.columns)}"
    if group.timestamp_format:
        yield f"timestamp_format = {toml_value(group.timestamp_format)}"


def _task(task: TaskPlan, plan: Plan) -> Iterator[str]:
    yield f"[tasks.{toml_key(task.name)}]"
    for note in task.notes:
        yield from _note(note)
    for question in task.questions:
        yield from _question(question)
    yield f"group = {toml_value(task.group.name)}"
    if task.shown is None:
        if task.actions:
            yield f"actions = {toml_value(task.actions)}"
        yield f"negatives = {task.negatives}"
        if task.ordered:
            yield 'ties = "ordered"'
        return
    shown = task.shown
    yield 'candidates = "impressions"'
    yield f"file = {toml_value(shown.table.file)}"
    columns = columns_of(shown, task.group.entity, {"request_id": shown.request, "label": shown.label})
    if columns:
        yield f"columns = {toml_value(columns)}"
    if shown.time.timestamp_format:
        yield f"timestamp_format = {toml_value(shown.time.timestamp_format)}"
    if task.position:
        yield f"position = {toml_value(task.position)}"
    if task.of_request:
        yield from _note("The same for all candidates of a request, which a server is told once:")
        yield f"of_request = {toml_value(task.of_request)}"
    yield from _sides(task.sides, task.left_out, f"tasks.{toml_key(task.name)}.context")


def _user(plan: Plan) -> Iterator[str]:
    if plan.user is None or not plan.user_sides:
        return
    yield "[user]"
    yield from _note(f"{plan.user.table.file}: {plan.user.table.rows:,} users.")
    yield f"file = {toml_value(plan.user.table.file)}"
    if plan.user.key.name != "user_id":
        yield f"columns = {toml_value({'user_id': plan.user.key.name})}"
    yield from _sides(plan.user_sides, plan.user_left_out, "user")


def _split(plan: Plan) -> Iterator[str]:
    yield from _note(plan.split_note)
    yield from _question(plan.split_question)
    yield "[split]"
    if plan.cut is None:
        yield 'kind = "leave_last_out"'
        return
    yield 'kind = "by_time"'
    yield f"validation_from = {day(plan.cut.validation_from)}"
    yield f"test_from = {day(plan.cut.test_from)}"


def _note(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH):
        yield f"# {line}"


def _question(text: str) -> Iterator[str]:
    for place, line in enumerate(textwrap.wrap(" ".join(text.split()), _WIDTH)):
        yield f"#{'  ' if place else '?'} {line}"
