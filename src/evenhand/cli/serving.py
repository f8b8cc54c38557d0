"""The verb that serves a saved model to trainers and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from evenhand.cli.options import DATA, EncoderAt, OutsideHead, SavedModel, Texts, option
from evenhand.cli.reading import Rows, verb
from evenhand.cli.terminal import tell

SERVER = "Server"


@verb
def serve(
    *,
    model: SavedModel,
    history: Annotated[Path | None, option(DATA)],
    reading: Rows,
    head: OutsideHead,
    encoder_at: EncoderAt,
    host: Annotated[str, option(SERVER)],
    port: Annotated[int, option(SERVER, min=0, max=65535)],
    names: Annotated[Texts, option(SERVER, "--name")],
    most_tokens: Annotated[int, option(SERVER, "--max-tokens", min=1)],
    most_waiting: Annotated[int, option(SERVER, "--max-waiting", min=1)],
    timeout: Annotated[float, option(SERVER)],
    most_users: Annotated[int, option(SERVER, "--max-users", min=1)],
    kept: Annotated[float, option(SERVER, "--keep-users")],
    unscored: Annotated[float, option(SERVER)],
) -> None:
    """Serve a saved model over HTTP, in the fields of vLLM's and OpenRLHF's reward servers and in its own."""
    from evenhand.workflows.serve import serve as run

    run(
        model,
        None if history is None else reading.load(history),
        head=head,
        encoder_at=encoder_at,
        host=host,
        port=port,
        names=names or (),
        most_tokens=most_tokens,
        most_waiting=most_waiting,
        timeout=timeout,
        most_users=most_users,
        kept=kept,
        unscored=unscored,
        log=tell,
    )
