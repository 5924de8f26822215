"""Nested dicts <-> dataclasses: every refusal, the shorthands, the round trip."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

import pytest

from atrank_tf.schema import plain, read, suggestion


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    size: int
    name: str = "front"


@dataclass(frozen=True, kw_only=True)
class Label:
    text: str
    bold: bool = False


@dataclass(frozen=True, kw_only=True)
class Plain:
    number: int = 3


@dataclass(frozen=True, kw_only=True)
class Cart:
    wheel: Wheel
    color: Color = Color.RED
    weight: float = 1.5
    tags: tuple[str, ...] = ()
    labels: Mapping[str, Label] = field(default_factory=dict)
    plains: Mapping[str, Plain] = field(default_factory=dict)


def cart(**changes):
    return {"wheel": {"size": 7}, **changes}


def test_defaults_stand_in_one_place():
    assert read(Cart, cart()) == Cart(wheel=Wheel(size=7))


def test_every_kind_of_value():
    raw = cart(color="blue", weight=2, tags=["a", "b"], labels={"x": {"text": "X", "bold": True}})
    expected = Cart(
        wheel=Wheel(size=7), color=Color.BLUE, weight=2.0, tags=("a", "b"), labels={"x": Label(text="X", bold=True)}
    )
    assert read(Cart, raw) == expected
    assert isinstance(read(Cart, raw).weight, float)


def test_text_sets_the_first_required_field():
    assert read(Cart, cart(labels={"x": "X"})).labels == {"x": Label(text="X")}


def test_list_of_names_gives_defaults():
    assert read(Cart, cart(plains=["a", "b"])).plains == {"a": Plain(), "b": Plain()}


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (datetime.date(1970, 1, 2), 86_400),
        (datetime.datetime(1970, 1, 1, 0, 1), 60),
        (datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))), 0),
    ],
)
def test_dates_are_unix_seconds(moment, seconds):
    assert read(Plain, {"number": moment}) == Plain(number=seconds)


def test_plain_leaves_defaults_out_and_is_read_back():
    value = Cart(wheel=Wheel(size=7), color=Color.BLUE, tags=("a",), labels={"x": Label(text="X")})
    raw = plain(value)
    assert raw == {"wheel": {"size": 7}, "color": "blue", "tags": ["a"], "labels": {"x": {"text": "X"}}}
    assert type(raw["color"]) is str
    assert read(Cart, raw) == value


def test_plain_with_defaults_has_every_field_and_is_read_back():
    value = Cart(wheel=Wheel(size=7))
    raw = plain(value, defaults=True)
    assert set(raw) == {field.name for field in fields(Cart)}
    assert set(raw["wheel"]) == {field.name for field in fields(Wheel)}
    assert read(Cart, raw) == value


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (cart(colour="red"), r'Unknown key "colour" in the top level\. Did you mean "color"\? Valid: color, labels,'),
        ({"wheel": {"size": 1, "nam": "x"}}, r'Unknown key "nam" in \[wheel\]\. Did you mean "name"\?'),
        ({}, r'Missing key "wheel" in the top level\.'),
        ({"wheel": {}}, r'Missing key "size" in \[wheel\]\.'),
        (cart(color="rad"), r"Unknown value 'rad' for color\. Did you mean \"red\"\? Valid: blue, red\."),
        ({"wheel": 3}, r"Expected a table of keys at \[wheel\]: .*\. Received: 3\."),
        (cart(labels=3), r"Expected a table of keys at \[labels\]\. Received: 3\."),
        (cart(labels=["x"]), r'Missing key "text" in \[labels\.x\]\.'),
        (cart(plains=[1]), r"Expected a text for plains\. Received: 1\."),
        (cart(plains={"a": "b"}), r"Expected a table of keys at \[plains\.a\]: .*number.*\. Received: 'b'\."),
        (cart(tags="a"), r"Expected a list for tags\. Received: 'a'\."),
        (cart(tags=[1]), r"Expected a text for tags\. Received: 1\."),
        ({"wheel": {"size": "7"}}, r"Expected a whole number for wheel\.size\. Received: '7'\."),
        ({"wheel": {"size": "2024-01-15"}}, r"Received: '2024-01-15'\. A date stands without quotation marks\.$"),
        ({"wheel": {"size": 7.0}}, r"Expected a whole number for wheel\.size\. Received: 7\.0\."),
        ({"wheel": {"size": True}}, r"Expected a whole number for wheel\.size\. Received: True\."),
        (cart(weight="1"), r"Expected a number for weight\. Received: '1'\."),
        (cart(weight=True), r"Expected a number for weight\. Received: True\."),
        (cart(labels={"x": {"text": "X", "bold": 1}}), r"Expected true or false for labels\.x\.bold\. Received: 1\."),
    ],
)
def test_refusals_say_what_and_where(raw, match):
    with pytest.raises(ValueError, match=match):
        read(Cart, raw)


@pytest.mark.parametrize(
    ("valid", "expected"),
    [
        (["category", "brand"], 'Did you mean "category"? Valid: brand, category.'),
        (["brand", "shop"], "Valid: brand, shop."),
        ([], "Valid: none."),
    ],
)
def test_suggestion(valid, expected):
    assert suggestion("categroy", valid) == expected


def test_numbers_and_tables_beyond_what_python_holds():
    @dataclass(frozen=True, kw_only=True)
    class Rate:
        rate: float = 0.0

    assert read(Rate, {"rate": 2**1000}).rate == 2.0**1000
    with pytest.raises(ValueError, match=r"Expected a number for rate\. Received: 1000"):
        read(Rate, {"rate": 10**400})
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match=r"Expected a few tables within each other in \[x\]\. Received: hundreds\."):
        read(Rate, {"rate": deep}, "x")
