"""What a check of fields says of the first that is wrong, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def why(error: Mapping[str, Any]) -> str:
    """Of one of pydantic's errors; of a check of our own, or of a part from outside, what it says itself and not that it is a ValueError."""
    return str(error["ctx"]["error"]) if error["type"] in ("value_error", "assertion_error") else str(error["msg"])
