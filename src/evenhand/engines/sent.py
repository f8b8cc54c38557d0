"""What is sent to workers as what it was made from, and not with all that it has read since."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import fields
from typing import Any, ClassVar


class AsMade:
    """A dataclass of which another process gets the settings alone: that one reads the files itself, which it must have under the same path."""

    FILES: ClassVar[Collection[str]] = (
        "folder",
    )  # fields that name a file or a folder; by its whole path, since a worker may stand elsewhere
    BUILT_IN: ClassVar[Collection[str]] = ()  # names that stand for none, even where there is one

    def __getstate__(self) -> dict[str, Any]:
        settings = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        there = {name: value for name in self.FILES if (value := settings[name]) and value not in self.BUILT_IN and os.path.exists(value)}
        return settings | {name: type(value)(os.path.abspath(value)) for name, value in there.items()}
