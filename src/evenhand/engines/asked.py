"""Which engine was asked for, by name or as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evenhand.core import EvenhandError, clip
from evenhand.engines import Engine


def unheard(found: str, expected: str) -> EvenhandError:
    """For machines that were named for work that nobody deals to them: nothing that is said goes unheard."""
    return EvenhandError(f"Found --engine, --address or --jobs with {found}. Expected: {expected}. To do: leave them out.")


@contextmanager
def asked(engine: str | Engine, address: str | None, here: Engine, jobs: int = 0) -> Iterator[Engine]:
    """Inside, the engine: "here" is the given one, "ray" a Ray cluster (see `on_ray`), anything else is one already, and is left as it is.

    jobs: workers of Ray at once; 0 = as many as the cluster has cores. Raises EvenhandError on other names, and those of `on_ray`.
    """
    if address is not None and engine != "ray":
        raise EvenhandError(
            "Found --address without --engine ray. Expected: both, or neither. To do: name the engine, or leave the address out."
        )
    if not isinstance(engine, str):
        yield engine
    elif engine == "here":
        yield here
    elif engine == "ray":
        from evenhand.engines.on_ray import on_ray

        with on_ray(address, jobs) as found:
            yield found
    else:
        raise EvenhandError(f"There is no engine {clip(engine)}. Expected: here or ray. To do: name one of them.")
