"""Fills the places of an HTML template, and allows by checksum what stands in it."""

import base64
import hashlib
import re
from collections.abc import Mapping


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Returns a template with a part in each place `{{name}}`; what a part says is not looked at again."""
    return re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], template)


def allowed(content: str) -> str:
    """Returns the source of a content security policy that allows a style or script with just this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
