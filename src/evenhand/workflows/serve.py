"""A saved model behind HTTP: a model and the histories of its users → a server that answers until it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError
from evenhand.serve.guards import allowed_host, token_of_environment
from evenhand.serve.histories import histories_of
from evenhand.serve.reads import what_is_read
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.given import read


def serve(
    model: RewardModel | str | Path,
    history: Any = None,
    *,
    head: Any = None,
    encoder_at: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    names: Sequence[str] = (),
    most_tokens: int = 4096,
    most_waiting: int = 256,
    timeout: float = 60.0,
    most_users: int = 10_000,
    kept: float = 3600.0,
    unscored: float = 0.0,
    log: Callable[[str], None] = print,
) -> None:
    """Answer requests for rewards until SIGTERM or SIGINT; then those under way are finished. See docs/serve.md for what may be asked.

    EVENHAND_TOKEN holds the token that is asked for. `log` is called with one line a request: path, status, time and id, no text.

    Args:
        model: Folder of a saved model, or a RewardModel.
        history: Earlier pairs of users, who are then known by their ids; others can send their history along.
        host: Where to listen: beyond this machine only with a token of 32 bytes or more in EVENHAND_TOKEN.
        port: 0 takes a free one.
        names: Further names that clients may call this server by: those of a proxy or a container.
        most_tokens: Of a response with its prompt; a longer one is refused.
        most_waiting: Requests in the queue; a further one is answered 429.
        timeout: Seconds until a request is answered 504.
        most_users: Users whose states are kept; then the one that was not asked for longest goes.
        kept: Seconds for which a user's state is kept.
        unscored: What a response without text is worth in /get_reward and /classify, whose clients need a number; /v1/score answers null. Rewards have
            no zero of their own: choose one below what texts get, or a policy may learn to say nothing.
    """
    try:
        from evenhand.serve.listening import listen
        from evenhand.serve.web.application import Limits, application
    except ImportError as error:
        raise EvenhandError(
            f"{error.name} is not installed. Expected: what a server needs. To do: pip install 'evenhand[serve]'."
        ) from None
    token = token_of_environment()
    allowed_host(host, token)
    if not -1e30 < unscored < 1e30:
        raise EvenhandError(f"Found unscored = {unscored:g}. Expected: a number. To do: choose one below what texts get.")
    if most_tokens < 1 or most_waiting < 1 or not 0 < timeout < 1e6:
        raise EvenhandError("Found a limit of none. Expected: at least one token, one request and more than no time. To do: raise it.")
    loaded = model if isinstance(model, RewardModel) else RewardModel.load(model, head=head, encoder_at=encoder_at)
    known = {} if history is None else histories_of(read(history))
    name = "model" if isinstance(model, RewardModel) else Path(model).resolve().name
    loaded.score([], [""], ["ready"])  # encoders read their weights now, and a folder that lacks them is told of before anybody asks
    limits = Limits(most_tokens, most_waiting, timeout, most_users, kept)
    app = application(loaded, name, known, host=host, token=token, names=names, limits=limits, unscored=unscored, log=log)
    log(f"{what_is_read(loaded.with_prompt, loaded.history_pairs)} {len(known):,} users are known by key.")
    listen(app, host, port, told=lambda address: log(f"serving {name} ({loaded.fingerprint[:12]}…) on {address}"), seconds=timeout)
