import math
import tracemalloc

import pytest

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.json_request import (
    _STRING_OR_INF,
    _is_in_object,
    debug_string,
    encode_text,
    encode_texts,
    parse_object,
    type_name,
)


def test_first_of_equal_keys_wins_and_text_after_the_object_is_not_read():
    assert parse_object(b' {"a": 1, "b": 2, "a": 3} {"c"') == {"a": 1, "b": 2}


def test_numbers_that_strict_json_lacks():
    parsed = parse_object(b'{"a": [NaN, Infinity, -Infinity]}')["a"]
    assert math.isnan(parsed[0])
    assert parsed[1:] == [math.inf, -math.inf]


def test_the_short_form_of_infinity():
    body = b'{"a": [Inf, -Inf, Infinity, "Inf", "\\"Inf"], "Inf": {"b": -Inf}}'
    inf = math.inf
    assert parse_object(body) == {"a": [inf, -inf, inf, "Inf", '"Inf'], "Inf": {"b": -inf}}


@pytest.mark.parametrize("body", [b'{"a": Info}', b'{"a": -Inf', b'{"a": [Inf, no]}', b'{"a": xInf}', b'{"a": "Inf}'])
def test_what_only_looks_like_infinity(body):
    with pytest.raises(ServingError, match=r"^JSON Parse error: "):
        parse_object(body)


@pytest.mark.parametrize("rest", ['\\"', "a", "\\\\", '\\"Inf', "\n"])
def test_a_string_without_an_end_is_looked_at_once(rest):
    """It is one piece to the end of the text, and not looked at again from each quote in it: that took an hour."""
    head = '{"instances":[Inf,'
    for times in (1, 100):
        text = f'{head}"{rest * times}'
        assert _STRING_OR_INF.findall(text) == ['"instances"', "Inf", text.removeprefix(head)]
    with pytest.raises(ServingError, match=r"^JSON Parse error: (Missing a closing quotation mark|Invalid encoding)"):
        parse_object(f'{head}"{rest * 250_000}'.encode())


def test_a_long_string_beside_the_short_form_of_infinity_takes_little_memory():
    body = b'{"a": [Inf, "' + b"\\\\a" * 300_000 + b'"]}'
    tracemalloc.start()
    parsed = parse_object(body)["a"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [parsed[0], len(parsed[1])] == [math.inf, 600_000]
    assert most < 9_000_000


@pytest.mark.parametrize(("head", "is_object"), [("[", False), ('{"a[": {', True), ('{"}": [{}, ', False)])
def test_the_bracket_that_is_open_is_found_without_a_copy_of_the_text(head, is_object):
    """A call that looked at all strings of a body at once kept other threads waiting for 140 ms."""
    text = head + "1," * 500_000
    tracemalloc.start()
    found = _is_in_object(text, 0, len(text))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is is_object
    assert most < 100_000


def test_byte_order_mark_is_skipped():
    assert parse_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_bytes_that_are_not_utf8_come_back_as_they_were():
    assert encode_text(parse_object(b'{"a": "x\xff\xc3\xa9"}')["a"]) == b"x\xff\xc3\xa9"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b" \n ", "The document is empty. at offset: 3"),
        (b"no", "Invalid value. at offset: 0"),
        (b'{"\xc3\xa9": no}', "Invalid value. at offset: 7"),
        (b"{1: 2}", "Missing a name for object member. at offset: 1"),
        (b'{"a" 2}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": [1 2]}', "Missing a comma or ']' after an array element. at offset: 9"),
        (b'{"a": [{"]": [1]} 2]}', "Missing a comma or ']' after an array element. at offset: 18"),
        (b'{"a": [{"]": [1] 2}]}', "Missing a comma or '}' after an object member. at offset: 17"),
        (b'{"a": "', "Missing a closing quotation mark in string. at offset: 6"),
        (b'{"a": "\n"}', "Invalid encoding in string. at offset: 7"),
        (b'{"a": "\\x"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a": "\\u00g0"}', "Incorrect hex digit after \\u escape in string. at offset: 8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Number too big to be stored in double."),
    ],
)
def test_parse_errors(body, message):
    with pytest.raises(ServingError, match=r"^JSON Parse error: ") as caught:
        parse_object(body)
    assert caught.value.message == f"JSON Parse error: {message}"
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_does_not_crash(opening):
    with pytest.raises(ServingError, match="nested too deep"):
        parse_object(b'{"a":' + opening * 500_000)


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a", "\0", "b"], ["a\0b"], ["é", "x\udcff"], ["\0\0", ""]])
def test_texts_are_encoded_together_as_they_are_one_by_one(texts):
    assert encode_texts(texts) == [encode_text(text) for text in texts]


def test_half_a_surrogate_pair_has_no_bytes():
    with pytest.raises(ServingError, match="surrogate pair in string is invalid"):
        encode_texts(["a", "\ud800"])
    with pytest.raises(ServingError, match="surrogate pair in string is invalid"):
        encode_text(parse_object(b'{"a": "\\ud800"}')["a"])


@pytest.mark.parametrize("body", [b"[1, 2]", b"5", b"null", b'"x"'])
def test_only_objects(body):
    with pytest.raises(ServingError, match=r"^JSON Value: .* Is not object$"):
        parse_object(body)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "Null"),
        (True, "True"),
        (False, "False"),
        ({}, "Object"),
        ([], "Array"),
        ("", "String"),
        (1, "Number"),
        (1.5, "Number"),
    ],
)
def test_type_names(value, name):
    assert type_name(value) == name


def test_debug_string_breaks_objects_into_lines_and_keeps_lists_on_one():
    value = {"examples": [{"a": 1}], "empty": [{}, []], "é": 1.0, "n": math.nan}
    assert debug_string(value) == (
        '{\n    "examples": [{\n            "a": 1\n        }],\n    "empty": [{}, []],\n    "é": 1.0,\n    "n": NaN\n}'
    )


def test_debug_string_of_a_long_value_is_cut():
    text = debug_string({"a": list(range(1_000_000))})
    assert len(text) == 259
    assert text.endswith("...")
