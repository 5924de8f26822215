import os
import shutil
from pathlib import Path

import pytest

from atrank_tf.server.versions import All, Latest, Specific, Version, latest_version, versions


def write_model(path, content="model"):
    (Path(path) / "saved_model.pb").write_text(content)


def test_the_content_of_a_version_is_told_by_its_model_and_not_by_its_place(tmp_path):
    version = Version(1, str(tmp_path / "1"))
    assert version.content is None
    (tmp_path / "1").mkdir()
    assert version.content is None
    write_model(version.path)
    first = version.content
    shutil.copytree(version.path, tmp_path / "copy")  # brings the times of the files along, and files of its own
    assert Version(1, str(tmp_path / "copy")).content == first
    os.utime(tmp_path / "1" / "saved_model.pb", ns=(0, first[0] + 1))
    second = version.content
    (tmp_path / "1" / "saved_model.pb").write_text("longer than it was")
    os.utime(tmp_path / "1" / "saved_model.pb", ns=(0, first[0] + 1))
    assert len({first, second, version.content}) == 3


def test_only_folders_with_integer_names_are_versions(tmp_path):
    for name in ("00000123", "9", "124", "tmp", "-5", "1.5", "²", "9223372036854775808"):
        (tmp_path / name).mkdir()
    (tmp_path / "200").write_text("a file")
    assert versions(str(tmp_path)) == [
        Version(9, str(tmp_path / "9")),
        Version(123, str(tmp_path / "00000123")),
        Version(124, str(tmp_path / "124")),
    ]
    assert latest_version(str(tmp_path)) == Version(124, str(tmp_path / "124"))


def test_no_versions(tmp_path):
    for base in (tmp_path, tmp_path / "missing"):
        assert versions(str(base)) == []
        assert latest_version(str(base)) is None


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
