"""Processes that do one piece of work together: `torchrun --nproc-per-node K -m evenhand fit …`. A process is called a rank.

Every rank runs the same program on the same data with the same seeds. The passes of a language model are dealt to the ranks and what comes
of them is added up, so that all hold the same numbers; everything else each of them computes for itself, and so alike. The first rank alone
writes files and prints. A rank that fails ends with its error, and torchrun ends the others.

Only inside of `together` are ranks at work together: a program that torchrun started for something else, such as the training of a policy
that asks a saved model for rewards, gets from each process what that process asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING

from evenhand.core import EvenhandError, clip

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
LONGEST = timedelta(minutes=30)  # a rank waits for another, before it gives up

_COUNT: ContextVar[int] = ContextVar("ranks at work together", default=1)


def started() -> int:
    """Processes that torchrun started, on all machines; 1 without it. Raises EvenhandError when what it says of them is no sense."""
    return _said()[1]


def restarted() -> bool:
    """Whether torchrun starts all processes again when one of them ends with anything but 0 (--max-restarts)."""
    return os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") not in ("", "0") and all(name in os.environ for name in NAMES)


def count() -> int:
    """Ranks at work together; 1 outside of `together`."""
    return _COUNT.get()


def number() -> int:
    """This rank's number, 0 to count() - 1."""
    return _said()[0] if count() > 1 else 0


def here() -> int:
    """This rank's number among those of its machine: that of its GPU."""
    return _said()[2] if count() > 1 else 0


def first() -> bool:
    """Whether this is the rank that writes and prints."""
    return number() == 0


@contextmanager
def together() -> Iterator[None]:
    """Inside, the processes that torchrun started work together; without it nothing happens. May be nested.

    Raises EvenhandError when they do not find each other, or are not as many as torchrun said.
    """
    asked = started() if count() == 1 else 1
    if asked == 1:
        yield
        return
    _join(asked)
    before = _COUNT.set(asked)
    try:
        there = int(add(_numbers([1])))
        if there != asked:
            raise EvenhandError(f"{there} processes work together. Expected: {asked}, as torchrun said. To do: start them again.")
        yield
    finally:
        _COUNT.reset(before)


def wait() -> None:
    """Until all ranks have come here."""
    if count() > 1:
        add(_numbers([0]))


def leave() -> None:
    """Take leave of the others, at the end of the program; what was sharded over the ranks is of no use afterwards."""
    if started() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def add(tensor: Tensor) -> Tensor:
    """The sum over all ranks, in the tensor's own place; all ranks get the same bits."""
    if count() > 1:
        import torch.distributed as dist

        with _others():
            dist.all_reduce(tensor)
    return tensor


def lowest(value: int) -> int:
    """The lowest of all ranks' values."""
    if count() == 1:
        return value
    import torch.distributed as dist

    values = _numbers([value])
    with _others():
        dist.all_reduce(values, dist.ReduceOp.MIN)
    return int(values)


def of_first(array: np.ndarray) -> np.ndarray:
    """The first rank's array, written into each rank's own, which has the same shape and type."""
    if count() > 1 and array.size:
        import numpy as np
        import torch
        import torch.distributed as dist

        sent = torch.from_numpy(np.ascontiguousarray(array).view(np.uint8).reshape(-1).copy())
        with _others():
            dist.broadcast(sent, 0)
        array[...] = sent.numpy().view(array.dtype).reshape(array.shape)
    return array


def same(what: str, said: str) -> None:
    """Raises EvenhandError, on all ranks, unless they say the same of something: nothing may be added up that does not belong together."""
    value = int.from_bytes(hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()[:7])
    if lowest(value) != -lowest(-value):
        raise EvenhandError(
            f"The processes that torchrun started have not the same {what}. Expected: one program on the same data, with the same settings, "
            "seeds and versions, on machines of one kind. To do: give all of them the same files and options, and a folder to write to that all "
            "machines share."
        )


def alone(verb: str) -> None:
    """Raises EvenhandError under torchrun, for what has processes of its own."""
    if (processes := started()) > 1:
        raise EvenhandError(
            f"Found {processes} processes of torchrun. Expected: one, since {verb} starts processes of its own. "
            f"To do: run {verb} without torchrun, and say with jobs how many models train at once."
        )


def _said() -> tuple[int, int, int, int]:
    """(number, count, number on this machine, count on it), as torchrun says."""
    if not all(name in os.environ for name in NAMES):
        return 0, 1, 0, 1
    try:
        rank, local, world, world_here = (int(os.environ[name]) for name in NAMES[:4])
    except ValueError:
        rank, local, world, world_here = 0, 0, 0, 0
    if not (0 <= rank < world and 0 <= local < world_here <= world):
        found = ", ".join(f"{name}={clip(os.environ[name])}" for name in NAMES[:4])
        raise EvenhandError(
            f"The environment says {found}. Expected: numbers as torchrun sets them. To do: start with torchrun, or unset these variables."
        )
    return rank, world, local, world_here


def _join(asked: int) -> None:
    import torch
    import torch.distributed as dist

    rank, _, local, world_here = _said()
    if not dist.is_initialized():
        backend = "gloo"
        if torch.cuda.is_available() and dist.is_nccl_available() and world_here <= torch.cuda.device_count():
            torch.cuda.set_device(local)
            backend = "cpu:gloo,cuda:nccl"
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        try:
            if again != "0" and world_here == asked and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                # torchrun keeps its store when it starts ranks again, with addresses in it of those that have ended
                store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), asked, False, LONGEST)
                dist.init_process_group(
                    backend, store=dist.PrefixStore(f"start {again}", store), rank=rank, world_size=asked, timeout=LONGEST
                )
            else:
                dist.init_process_group(backend, timeout=LONGEST)
        except (RuntimeError, ValueError, OSError) as error:
            raise EvenhandError(
                f"The processes that torchrun started do not find each other: {clip(' '.join(str(error).split()), 200)}. Expected: {asked} "
                "that reach one another. To do: check the address and port that torchrun was given, and the network between the machines."
            ) from error
    if dist.get_world_size() != asked:
        raise EvenhandError(
            f"{dist.get_world_size()} processes work together. Expected: {asked}, as torchrun said. To do: start them with torchrun alone."
        )


@contextmanager
def _others() -> Iterator[None]:
    """What goes wrong between ranks: one has ended, and its connections with it, or hangs."""
    try:
        yield
    except RuntimeError as error:
        raise EvenhandError(
            f"Another of {count()} processes has ended, or has not answered for {LONGEST.seconds // 60} minutes. Expected: all of them, to the "
            "end. To do: see what that one said (nothing, where the system ended it, as it does when memory runs out), mend it, and run the same "
            "command again: it goes on from what is kept."
        ) from error


def _numbers(values: list[int]) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.int64)
