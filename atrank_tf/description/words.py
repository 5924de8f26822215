"""Words of English in the names of columns and files, which hint at what they hold."""

import re
import unicodedata
from collections.abc import Sequence


def words_of(name: str) -> tuple[str, ...]:
    """Returns the words of a name, in small letters: ("customer", "id") of "customerID" and of "customerid"."""
    words = re.findall(r"[^\W\d_]+|\d+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", plain(name)).lower())
    return tuple(part for word in words for part in _split(word))


def plain(text: str) -> str:
    """Returns a text without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def bare(words: Sequence[str]) -> tuple[str, ...]:
    """Returns words without those that only say that something is an id, and without the s of a plural."""
    kept = [word for word in words if word not in ID_WORDS or len(words) == 1]
    return tuple(
        word[:-1] if word.endswith("s") and len(word) > 4 and not word.endswith("ss") else word for word in kept
    )


def _split(word: str) -> tuple[str, ...]:
    """Divides a word that ends in "id" or "name" if the rest is a word for users or things."""
    for end in ("id", "name"):
        if word.endswith(end) and word.removesuffix(end) in USER_WORDS | OBJECT_WORDS | REQUEST_WORDS:
            return word.removesuffix(end), end
    return (word,)


def _listed(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


TIME_WORDS = _listed("time timestamp ts date datetime day moment when at epoch created")
LATER_WORDS = _listed(
    """updated modified changed deleted expires expired expiry arrival departure delivery delivered due until end
    checkin checkout returned birth birthday registered joined released published"""
)
"""Moments after the user acted, or before: not when it was."""
CLOCK_WORDS = _listed("unix time timestamp ts epoch event")
"""Whole numbers that are called by nothing else are moments, whenever their clock began."""
ID_WORDS = _listed("id ids key code sku no nr number upc ean isbn asin uuid zip")
"""They make whole numbers names, not amounts."""
USER_WORDS = _listed(
    """user customer client member household visitor account buyer shopper person reader listener viewer player
    subscriber student patient cust uid reviewer guest consumer device cookie contact employee tenant email"""
)
TRACE_WORDS = _listed("device cookie visitor guest email pseudo anonymous ip")
"""Of two columns of users the one that says less well who it was."""
OBJECT_WORDS = _listed(
    """item product article sku asin movie film song track artist hotel ad query coupon book game news video recipe
    listing property course app isbn good thing content post restaurant poi venue business offer album job keyword"""
)
ACTION_WORDS = _listed("action event type behavior behaviour kind verb activity interaction operation")
LABEL_WORDS = _listed(
    """label clicked click chosen bought purchased converted conversion selected target response taken positive booked
    redeemed ordered accepted liked"""
)
REQUEST_WORDS = _listed("request impression session search list slate page visit srch pageview")
TITLE_WORDS = _listed("title name description")
PLACE_WORDS = _listed("position pos rank place slot")
AMOUNT_WORDS = _listed(
    """price amount quantity qty value sales cost discount rating score total revenue count duration position rank
    weight stars age index size year"""
)
WANTED_WORDS = _listed(
    """purchase purchased buy bought order ordered transaction checkout book booked booking pay paid payment redeem
    subscribe install convert conversion sale sold rent rental"""
)
