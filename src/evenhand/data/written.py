"""Lists that were written into a cell: as JSON, as Python prints them, or as NumPy does (no commas between the elements, `array(…, dtype=object)`)."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from typing import Any

START = re.compile(r"""\s*\[\s*(?:array\(\[\s*)*(?:[{"'\]]|None\b)""")
OBJECTS = re.compile(r"""\s*\[\s*\{\s*["']""")
ENDS, BEGINS = {"}", "]"}, {"{", "["}
ARRAY, GAP = {"array", "dtype", "object", "=", "(", ")"}, {"nan": "None", "null": "None", "true": "True", "false": "False"}


def is_written(text: str) -> bool:
    """It begins as a list of objects does."""
    return OBJECTS.match(text) is not None


def decoded(value: Any) -> Any:
    """A list that was written into a cell; anything else as it is."""
    if not isinstance(value, str) or START.match(value) is None:
        return value
    try:
        decoded_value = json.loads(value)
    except (ValueError, RecursionError):
        decoded_value = _printed(value)
    return decoded_value if isinstance(decoded_value, list) else value


def _printed(text: str) -> Any:
    """What Python or NumPy printed; None when it is nothing of the kind. Literals alone are read, nothing is run."""
    try:
        return ast.literal_eval(_with_commas(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None


def _with_commas(text: str) -> str:
    """The text with a comma between neighbours: Python would join two texts that stand side by side into one."""
    out: list[str] = []
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(f"({text.strip()})").readline):
        word = token.string
        if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        if word in ARRAY:
            continue
        begins = token.type in (tokenize.STRING, tokenize.NUMBER, tokenize.NAME) or word in BEGINS
        if begins and before == "end":
            out.append(",")
        if word == "," and out and out[-1] == ",":  # what stood before a dtype
            continue
        out.append(GAP.get(word, word))
        before = "end" if token.type in (tokenize.STRING, tokenize.NUMBER, tokenize.NAME) or word in ENDS else ""
    return " ".join(out)
