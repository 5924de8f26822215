"""Explanations as JSON types, for the report page and for pages of your own."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from atrank_tf.explanation.attention import Explanation
from atrank_tf.explanation.names import Thing
from atrank_tf.explanation.occlusion import Occlusion, attention_agreement


def explanation_to_json(explanation: Explanation, occlusion: Occlusion, groups: Sequence[str]) -> dict[str, Any]:
    """Returns an explanation as JSON types.

    | key | holds |
    |---|---|
    | `user`, `task`, `now` | text, text, Unix seconds |
    | `groups` | names of groups; behaviors have an index in it |
    | `things` | `id`, `label`, `categories`, `features` of each object; the next two have an index in it |
    | `behaviors` | `group`, `action`, `timestamp`, `thing`; T in time order |
    | `candidates` | `thing`, `chosen` (true, false or null), `score`, `parts`, `affinity`, `agreement` (or null); N |
    | `self_attention`, `target_attention` | packed [blocks, K, T, T] and [K, N, T] |
    | `without` | `behaviors` packed [N, T]; `groups`: name -> [N]; `spaces`: attention -> `[K][N]` |

    A packed array is `{"shape", "type", "data"}`, data in little-endian base64. Type "uint16" holds shares of 65,535.

    Args:
        explanation: an explanation.
        occlusion: of the same request.
        groups: the groups of the schema.
    """
    things = {id(thing): thing for thing in (*(b.thing for b in explanation.behaviors), *explanation.candidates)}
    places = {key: place for place, key in enumerate(things)}
    agreement = attention_agreement(explanation, occlusion)
    return {
        "user": explanation.user,
        "task": explanation.task,
        "now": explanation.now,
        "groups": list(groups),
        "things": [_thing(thing) for thing in things.values()],
        "behaviors": [
            {
                "group": list(groups).index(behavior.group),
                "action": behavior.action,
                "timestamp": behavior.timestamp,
                "thing": places[id(behavior.thing)],
            }
            for behavior in explanation.behaviors
        ],
        "candidates": [
            {
                "thing": places[id(thing)],
                "chosen": None if explanation.labels is None else bool(explanation.labels[n]),
                "score": _number(explanation.score[n]),
                "parts": {name: _number(part[n]) for name, part in explanation.parts.items()},
                "affinity": list(explanation.affinity[n]),
                "agreement": _number(agreement[n]),
            }
            for n, thing in enumerate(explanation.candidates)
        ],
        "self_attention": _packed(explanation.self_attention),
        "target_attention": _packed(explanation.target_attention),
        "without": {
            "behaviors": _packed(occlusion.behaviors, "float32"),
            "groups": {name: _numbers(drops) for name, drops in occlusion.groups.items()},
            "spaces": {name: [_numbers(drops) for drops in spaces] for name, spaces in occlusion.spaces.items()},
        },
    }


def _thing(thing: Thing) -> dict[str, Any]:
    features = {column: list(values) for column, values in thing.features.items()}
    return {"id": thing.id, "label": thing.label, "categories": list(thing.categories), "features": features}


def _packed(values: np.ndarray, dtype: str = "uint16") -> dict[str, Any]:
    if dtype == "uint16":
        values = np.rint(values.astype(np.float64) * 65_535)
    data = base64.b64encode(np.ascontiguousarray(values, f"<{np.dtype(dtype).str[1:]}").tobytes())
    return {"shape": list(values.shape), "type": dtype, "data": data.decode("ascii")}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: Any) -> float | None:
    """Rounds to six digits; NaN, which JSON does not have, becomes None."""
    return None if math.isnan(value) else float(f"{value:.6g}")
