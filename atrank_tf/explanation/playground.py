"""A page to play with a served model: edit a request, see the scores and what they came from."""

import json
import math
from collections.abc import Sequence
from typing import Any

from atrank_tf.explanation.page import fill


def playground_page(models: Sequence[str], request: Any) -> str:
    """Returns a page that asks the REST endpoints of the server it comes from, and nobody else.

    Scores and attention are what the signature `explain__<task>` gives; effects are differences of scores of
    `score__<task>`, asked once without each behavior and each group. A model that was exported without `explain` is
    shown by its effects alone.

    Args:
        models: names of served models; the first is shown first.
        request: the body of a predict call in row form, which the page begins with.

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
    """Numbers that the page's JSON cannot carry as text: a browser rounds whole ones above 2 ** 53.

    A missing number is an empty field, which the page sends as NaN.
    """
    if isinstance(value, list):
        return [_text(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "" if math.isnan(value) else json.dumps(value)
    return str(value) if isinstance(value, int) else value
