"""Small JSON files that a person writes, such as lists of terms: read whole, every defect named."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

from evenhand.core import DataError

MAX_BYTES = 2**20  # such a file is written by hand; more is another file
MAX_LENGTH = 200  # characters of one term or name


def read_json(path: Path | str, expected: str) -> tuple[Any, str]:
    """The file's value, and the SHA-256 of its bytes. expected: what the file should hold, for messages. Raises DataError."""
    path = Path(path)
    if not path.is_file():
        raise DataError("there is no such file", expected=expected, remedy="check the path", file=path.name)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(f"the file cannot be read: {why}", expected=expected, remedy="check its rights", file=path.name) from error
    if len(raw) > MAX_BYTES:
        found = f"the file is larger than {MAX_BYTES:,} bytes"
        raise DataError(found, expected=expected, remedy="check that it is the right file", file=path.name)
    try:
        value = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once)
    except _Twice as error:
        raise DataError(
            "a name occurs twice", expected="every name once", remedy="put its terms together", file=path.name, value=str(error)
        ) from error
    except UnicodeDecodeError as error:
        raise DataError("the file is not valid UTF-8", expected=expected, remedy="save it as UTF-8", file=path.name) from error
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DataError("the file is not valid JSON", expected=expected, remedy="mend the file", file=path.name, line=line) from error
    return value, hashlib.sha256(raw).hexdigest()


def term(value: object, where: str, file: str) -> str:
    """A word or words as written in such a file: NFC, single spaces. `where` says which term, for the message. Raises DataError."""
    wrong = ""
    if not isinstance(value, str):
        wrong = "is not a text"
    elif len(value) > MAX_LENGTH:
        wrong = f"is longer than {MAX_LENGTH} characters"
    elif not value.strip():
        wrong = "is empty"
    elif any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        wrong = "holds a control character or broken Unicode"
    if wrong:
        shown = value if isinstance(value, str) else f"<{type(value).__name__}>"
        raise DataError(f"{where} {wrong}", expected="a word or a few words", remedy="mend the file", file=file, value=shown)
    return " ".join(unicodedata.normalize("NFC", str(value)).split())


class _Twice(ValueError):
    """A key that an object names more than once."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return record
