"""The settings that `describe` takes from an experiment file are those of the file."""

import re
import tomllib
from pathlib import Path

import pytest

from atrank_tf.description.experiment_text import RECIPES


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_has_the_settings_of_the_file_that_it_names(kind: str) -> None:
    why, _, settings = RECIPES[kind]
    (file,) = re.findall(r"experiments/\w+\.toml", why)
    written = tomllib.loads((Path(__file__).parents[2] / file).read_text())
    assert {section: {key: written[section].get(key) for key in keys} for section, keys in settings.items()} == settings
