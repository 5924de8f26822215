import pytest

from atrank_tf.server.version_policy import All, Latest, Specific
from atrank_tf.server.versions import Version

PRESENT = [Version(number, f"/base/{number}") for number in (3, 5, 7)]


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (Latest(), [7]),
        (Latest(0), [7]),
        (Latest(2), [5, 7]),
        (Latest(9), [3, 5, 7]),
        (All(), [3, 5, 7]),
        (Specific(frozenset({3, 7, 8})), [3, 7]),
        (Specific(frozenset()), []),
    ],
)
def test_policies(policy, numbers):
    assert [version.number for version in policy.choose(PRESENT)] == numbers
    assert policy.choose([]) == []
