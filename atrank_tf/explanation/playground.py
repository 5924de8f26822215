"""Playground: a page to edit a request to a served model and see its scores, attention and effects."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from atrank_tf.data import Records
from atrank_tf.explanation.page import fill
from atrank_tf.schema.inputs import candidates_name, history_name

MOST_TITLES = 20_000
"""Titles of an entity that the page holds: those of the objects with the most behaviors."""


def playground_titles(records: Records) -> dict[str, dict[str, str]]:
    """Returns name of an input -> raw id -> title, of the entities that have a `name` in the schema.

    Inputs of one entity share their titles.
    """
    schema, of_entities = records.schema, {}
    for entity, catalog in records.catalogs.items():
        if catalog.names is not None:
            pairs = zip(catalog.ids[:MOST_TITLES].tolist(), catalog.names[:MOST_TITLES].tolist(), strict=True)
            of_entities[entity] = {str(each): title for each, title in pairs if title}
    groups = {history_name(name, "id"): name for name in schema.groups}
    groups |= {candidates_name(name): task.group for name, task in schema.tasks.items()}
    entities = {name: schema.groups[group].entity for name, group in groups.items()}
    return {name: of_entities[entity] for name, entity in entities.items() if entity in of_entities}


def playground_page(models: Sequence[str], request: Any, titles: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Returns a page that calls the REST endpoints of the server it comes from, and nothing else.

    Scores and attention are outputs of the signature `explain__<task>`. Effects are differences of scores of
    `score__<task>`, called once without each behavior and each group. For a model that was exported without `explain`
    the page shows effects alone.

    Args:
        models: names of served models; the first is shown first.
        request: the body of a predict call in row form, the first request that the page shows.
        titles: what `playground_titles` returns; None to show ids alone.

    Raises:
        ValueError: `request` has no instance.
    """
    instances = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
        raise ValueError('Expected a predict request in row form: {"instances": [{...}]}. Found no instance.')
    values = {name: _text(value) for name, value in instances[0].items()}
    titles = titles or {}
    different = list({id(of_one): of_one for of_one in titles.values()}.values())
    data = {
        "models": list(models),
        "signature": request.get("signature_name", ""),
        "values": values,
        "titles": different,
        "titled": {name: next(n for n, each in enumerate(different) if each is of) for name, of in titles.items()},
    }
    return fill("playground.html", ["drawing.js", "playground_request.js", "playground.js"], data, connect="'self'")


def _text(value: Any) -> Any:
    """Converts integers and numbers that are not finite to text: a browser would round integers above 2 ** 53.

    NaN, a missing number, becomes an empty field, which the page sends as NaN.
    """
    if isinstance(value, list):
        return [_text(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "" if math.isnan(value) else json.dumps(value)
    return str(value) if isinstance(value, int) else value
