"""DIN's own choices."""

import pytest

from atrank_tf.models import DINConfig


@pytest.mark.parametrize("unit", [(), (4, 0)])
def test_impossible_units_are_refused(unit: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"attention_units must be positive\. Received: attention_units=\[.*\] in \[model\]"
    ):
        DINConfig(attention_units=unit)
