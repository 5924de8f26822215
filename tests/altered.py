"""Nested dicts, as of a TOML file, with a few things wrong."""

import copy
import datetime
from typing import Any

from hypothesis import strategies as st

_NUMBERS = st.integers(-3, 70) | st.sampled_from(
    [2**63, 10**400, -(2**80), 0.5, 1.5, -0.0, 1e300, 5e-324, float("inf"), float("-inf"), float("nan")]
)
_WORDS = st.sampled_from(
    ["item", "click", "view", "a/b", "a__b", "a_", "", "x y", "\x7f", '"', "\\", "\n", "٣", "sampled", "day"]
)
_DATES = st.sampled_from([datetime.date(1, 1, 1), datetime.datetime(9999, 12, 31, 23), datetime.time(1)])
_PLAIN = _NUMBERS | _WORDS | st.text(max_size=4) | st.booleans() | _DATES
_VALUES = _PLAIN | st.lists(_PLAIN, max_size=3) | st.dictionaries(_WORDS, _PLAIN, max_size=2)
_VALUES |= st.dictionaries(_WORDS, st.dictionaries(_WORDS, _PLAIN, max_size=2), max_size=2)


def altered(data: Any, raw: dict[str, Any]) -> dict[str, Any]:
    """Draws, by Hypothesis' `data`, dicts that differ from good ones in a few places, with what TOML can hold."""
    raw = copy.deepcopy(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        places = [raw]
        for place in places:
            places += [inside for inside in place.values() if isinstance(inside, dict)]
        place = data.draw(st.sampled_from(places))
        old = data.draw(st.sampled_from([*place, "new"]))
        kept = place.pop(old, {})
        if data.draw(st.booleans()):
            place[old] = data.draw(_VALUES)
        elif data.draw(st.booleans()):
            place[data.draw(_WORDS)] = kept
    return raw
