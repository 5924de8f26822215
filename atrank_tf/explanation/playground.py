"""Playground: a page to edit a request to a served model and see its scores, attention and effects."""

import json
import math
from collections.abc import Sequence
from typing import Any

from atrank_tf.explanation.page import fill


def playground_page(models: Sequence[str], request: Any) -> str:
    """Returns a page that calls the REST endpoints of the server it comes from, and nothing else.

    Scores and attention are outputs of the signature `explain__<task>`. Effects are differences of scores of
    `score__<task>`, called once without each behavior and each group. For a model that was exported without `explain`
    the page shows effects alone.

    Args:
        models: names of served models; the first is shown first.
        request: the body of a predict call in row form, the first request that the page shows.

    Raises:
        ValueError: `request` has no instance.
    """
    instances = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
        raise ValueError('Expected a predict request in row form: {"instances": [{...}]}. Found no instance.')
    values = {name: _text(value) for name, value in instances[0].items()}
    data = {"models": list(models), "signature": request.get("signature_name", ""), "values": values}
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
