"""Exported folders on disk: all files of a form or none, in no place of anybody else's. What a form is lies in the files beside this one.

`save_pretrained` writes into a folder that is thrown away; what it wrote goes where it belongs through `evenhand.writing`. So the bytes of an
export are in memory once beside the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from evenhand.core import DataError
from evenhand.encode.quiet import quiet
from evenhand.writing import check, write

KIND = "exported model"
CARD = "README.md"
USERS = "users"  # the folder of the users' adapters
NAMES = (
    "model.safetensors", "adapter_model.safetensors", "config.json", "adapter_config.json", "modeling_evenhand.py", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", CARD,
)  # fmt: skip  # all that an export may have written, so that none of an older one stays beside a new one

Files = Mapping[str, bytes]


def check_place(out: Path) -> None:
    """Raises DataError where an export would take the place of files that are not an export's."""
    check(out, NAMES, KIND)
    users = out / USERS
    for folder in sorted(users.iterdir()) if users.is_dir() else ():
        check(folder, NAMES, KIND)


def written(save: Callable[[Path], object]) -> dict[str, bytes]:
    """What `save` writes into the folder it is given, name → bytes."""
    with TemporaryDirectory(prefix="evenhand-") as place, quiet():
        save(Path(place))
        return {file.name: file.read_bytes() for file in sorted(Path(place).iterdir()) if file.is_file()}


def put(out: Path, files: Files, adapters: Mapping[str, Files] | None = None) -> None:
    """Write the folder, and a folder of each user's adapter in it. Adapters of an older export for other users are an error: they would stay."""
    adapters = adapters or {}
    users = out / USERS
    left = sorted({folder.name for folder in users.iterdir()} - set(adapters)) if users.is_dir() else []
    if left:
        raise DataError(
            f"it holds adapters of {len(left)} users who are not in this export", expected="none, or those of the same users",
            remedy="choose another folder, or take them away", file=str(users),
        )  # fmt: skip
    check_place(out)
    for name, own in adapters.items():  # before the folder that they belong to: where that is there, they are
        write(users / name, own, KIND, NAMES)
    write(out, files, KIND, NAMES)
