"""A model and its users' histories, loaded once in a process: for trainers that call a function with a path for each response."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from threading import Lock

from evenhand.core import EvenhandError, clip
from evenhand.serve.model_files import DESCRIPTION
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.rewarding import Blind, Rewarding, rewarding

MOST = 4  # models in one process
_LOADING = Lock()  # trainers call from several threads at once: one of them loads


def loaded(model: str | Path, histories: str | Path | None, blind: Blind, encoder_at: str | Path | None = None) -> Rewarding:
    """The same object as long as both lie there unchanged: told by the hash of the model's description, which holds that of its arrays,
    and by the size and time of the histories.
    """
    file = Path(model) / DESCRIPTION
    if not file.is_file():
        raise EvenhandError(f"Found no saved model in '{clip(str(model))}'. Expected: the folder of one. To do: name OUT/model of a fit.")
    stamp = None
    if histories is not None and Path(histories).exists():
        about = Path(histories).stat()
        stamp = about.st_mtime_ns, about.st_size
    with _LOADING:
        described = hashlib.sha256(file.read_bytes()).digest()
        return _loaded(str(model), described, None if histories is None else str(histories), stamp, blind, encoder_at)


@lru_cache(maxsize=MOST)
def _loaded(
    model: str, sha256: bytes, histories: str | None, stamp: tuple[int, int] | None, blind: Blind, encoder_at: str | Path | None
) -> Rewarding:
    return rewarding(model if encoder_at is None else RewardModel.load(model, encoder_at=encoder_at), histories, blind)
