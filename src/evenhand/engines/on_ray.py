"""Work on the machines of a Ray cluster (extra `ray`): workers are Ray actors, one core each, wherever the cluster has room.

What is sent: `hold` once, into Ray's object store, from which every machine fetches it once; the pieces and their results. Ray carries them
as pickles between processes that trust each other: whoever can reach a cluster can run programs on it, so it belongs on a network of its own.

Without an address Ray is started on this machine for as long as the work takes, on the loopback interface and with a token that only this
process and its workers have, without its dashboard and without reports of usage. What it writes (logs, sockets, what does not fit into
memory) lies in a private folder under the system's folder for temporary files, and goes with it.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from types import ModuleType
from typing import Any

from evenhand.core import EvenhandError, clip
from evenhand.engines import Hold, Lost, Raised, Up, carried, deal, nothing

SAME = ("evenhand", "numpy", "torch")  # packages of which every machine has the version that this one has, lest figures differ by machine
REACH = 5.0  # seconds to reach an address
ADDRESS = "HOST:PORT of the cluster's head node (such as 10.0.0.1:6379), or auto on one of its machines"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}  # a cluster of one machine: on loopback
ONCE = {"RAY_gcs_server_port_wait_time_s": "1"}  # attempts to reach what answers but is no Ray, of 40 s each


@dataclass(frozen=True)
class OnRay:
    """A connected Ray: see `on_ray`."""

    at_once: int
    # workers that runs of the last kind have left, without or with a GPU
    idle: dict[bool, list[Any]] = field(default_factory=lambda: {False: [], True: []})

    def run(
        self, hold: Hold, work: Iterable[Any], *, at_once: int | None = None, gpu: bool = False, beat: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, Any | Lost]]:
        import ray

        if gpu and ray.cluster_resources().get("GPU", 0) < 1:
            raise EvenhandError(
                "The Ray cluster has no GPU. Expected: one at least, as the work computes on GPUs. To do: add a machine with one."
            )
        for worker in self.idle[not gpu]:  # each keeps a core, which the workers of this run may wait for
            ray.kill(worker)
        self.idle[not gpu].clear()
        try:
            held = ray.put(hold)
        except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError) as error:
            raise EvenhandError(
                "What the workers need does not fit into Ray's object store. Expected: room for it on this machine. "
                "To do: start Ray with a larger --object-store-memory, or use fewer pairs or dimensions."
            ) from error
        kind = ray.remote(num_cpus=1, num_gpus=int(gpu), max_restarts=0)(_Worker)
        return deal(_Pool(ray, kind, held, self.idle[gpu]), work, at_once or self.at_once, beat)


@contextmanager
def on_ray(address: str | None = None, jobs: int = 0) -> Iterator[OnRay]:
    """Inside, the Ray cluster at `address`; None: the one that RAY_ADDRESS names, else one started on this machine and ended after it.

    A Ray that this program is connected to already is used as it is, and stays. jobs: workers at once; 0 = as many as there are cores.

    Raises EvenhandError where Ray is not installed, cannot be reached, or is of another version.
    """
    with ExitStack() as left:
        for_once = address or os.environ.get("RAY_ADDRESS") or ""
        _set(QUIET | ({} if for_once else OWN), left)  # Ray reads it when it is imported
        ray = _imported()
        if not ray.is_initialized():
            _connect(ray, for_once, left) if for_once else _start(ray, jobs, left)
        elif address is not None:
            raise EvenhandError(
                "This program is connected to a Ray cluster already. Expected: no address then. To do: leave it out, or call ray.shutdown()."
            )
        engine = OnRay(jobs or max(1, int(ray.cluster_resources().get("CPU", 1))))
        try:
            yield engine
        finally:
            for worker in (*engine.idle[False], *engine.idle[True]) if ray.is_initialized() else ():
                ray.kill(worker)


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise EvenhandError("Ray is not installed. Expected: the extra ray. To do: pip install 'evenhand[ray]'.") from error
    return ray


def _set(environment: Mapping[str, str], left: ExitStack) -> None:
    """Until `left` is left; what somebody has set goes before it."""
    for name, value in environment.items():
        if name not in os.environ:
            os.environ[name] = value
            left.callback(os.environ.pop, name, None)


def _start(ray: ModuleType, jobs: int, left: ExitStack) -> None:
    """Ray on this machine, until `left` is left."""
    folder = left.enter_context(tempfile.TemporaryDirectory(prefix="evenhand-ray-", ignore_cleanup_errors=True))
    _set({"RAY_AUTH_TOKEN": secrets.token_hex(32)}, left)
    _silence(ray, left)
    left.callback(ray.shutdown)
    try:
        with _calm():
            ray.init(
                "local",
                num_cpus=jobs or os.cpu_count(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=folder,
            )
    except Exception as error:
        if type(error) is not Exception:  # what Ray raises when half a minute was not enough
            raise
        raise EvenhandError(
            f"Ray does not start on this machine ({clip(str(error), 200)}). Expected: it within half a minute. "
            "To do: give the same command again when the machine has less to do, or leave --engine ray out."
        ) from error


def _connect(ray: ModuleType, address: str, left: ExitStack) -> None:
    """To a cluster that others started, until `left` is left."""
    if address != "auto":
        _reach(address)
    _silence(ray, left)
    left.callback(ray.shutdown)
    _set(ONCE, left)
    try:
        with _calm():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise EvenhandError(
            f"No Ray cluster answers at {clip(address)} ({clip(str(error), 200)}). Expected: {ADDRESS}. "
            "To do: correct --address, start Ray there, or run the command on a machine of the cluster."
        ) from error
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise
        raise EvenhandError(
            f"The Ray cluster at {clip(address)} is of another version ({' '.join(str(error).split())}). Expected: the same Ray and Python on all "
            "machines. To do: install what the cluster has, or start it with what is here."
        ) from error
    except ray.exceptions.RayError as error:
        raise EvenhandError(
            f"The Ray cluster at {clip(address)} lets nobody in ({clip(str(error), 200)}). Expected: RAY_AUTH_MODE=token, with the token in RAY_AUTH_TOKEN or "
            "~/.ray/auth_token. To do: set them as on the cluster's machines."
        ) from error


def _reach(address: str) -> None:
    """Raises EvenhandError unless something answers there; Ray itself would ask for a quarter of an hour."""
    host, colon, port = address.rpartition(":")
    if "//" in address or not (colon and host and port.isdigit() and int(port) < 65536):
        raise EvenhandError(
            f"Found the address {clip(address)}. Expected: {ADDRESS}. To do: correct it; from outside, use `ray job submit`."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()
    except OSError as error:
        raise EvenhandError(
            f"Nothing answers at {clip(address)} ({clip(str(error))}). Expected: {ADDRESS}. To do: correct --address, or start Ray there."
        ) from error


def _silence(ray: ModuleType, left: ExitStack) -> None:
    """Until `left` is left; else every death of a worker is told on stdout, whatever log_to_driver says."""
    place = ray._private.worker
    left.callback(setattr, place, "_worker_logs_enabled", place._worker_logs_enabled)
    place._worker_logs_enabled = False


@contextmanager
def _calm() -> Iterator[None]:
    """Without Ray's advice on its own coming versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@dataclass(frozen=True)
class _Pool:
    """idle: processes of earlier runs, which start again in no time."""

    ray: ModuleType
    kind: Any
    held: Any  # ObjectRef of `hold`
    idle: list[Any]
    working: list[Any] = field(default_factory=list)
    asked: dict[Any, Any] = field(default_factory=dict)  # ObjectRef of what a worker was asked last → the worker

    def start(self) -> Any:
        worker = self.idle.pop() if self.idle else self.kind.remote()
        self.working.append(worker)
        self.asked[worker.up.remote([self.held], _versions())] = worker
        return worker

    def give(self, worker: Any, piece: Any) -> None:
        self.asked[worker.do.remote(piece)] = worker

    def wait(self, seconds: float) -> list[tuple[Any, Any]]:
        ended, _ = self.ray.wait(list(self.asked), timeout=seconds)
        said = [(self.asked.pop(ref), self._said(ref)) for ref in ended]
        for worker in [worker for worker, found in said if isinstance(found, Lost)]:
            self.working.remove(worker)
            self.ray.kill(worker)  # if it is cut off and not dead
        return said

    def _said(self, ref: Any) -> Any:
        try:
            return self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:  # what the work raised comes as Raised: this is its result, which cannot be sent
            return Raised(RuntimeError(str(error)))
        except self.ray.exceptions.RayError as error:
            return Lost(_why(error))

    def stop(self) -> None:
        if (
            not self.ray.is_initialized()
        ):  # this program's Ray has gone before its workers, or rather with them; asked now, it would start another
            return
        busy = set(self.asked.values())
        for worker in self.working:
            if worker in busy:
                self.ray.kill(worker)
            else:
                self.idle.append(worker)


def _why(error: Exception) -> str:
    """Ray's own words are a page."""
    node = "node has died" in str(error) or "node it was running on is dead" in str(error)
    return "its machine left the Ray cluster" if node else "its process on the Ray cluster died (out of memory?)"


def _versions() -> dict[str, str]:
    """Without what says for which device a package was built."""
    return {name: version(name).partition("+")[0] for name in SAME}


class _Worker:
    """A process of the cluster. Nothing leaves it as an exception, since Ray tells of these in pages."""

    def __init__(self) -> None:
        self.piece: Callable[[Any], Any]

    def up(self, held: list[Any], expected: Mapping[str, str]) -> Up | Raised:
        """held: a list, so that what is in it is fetched here, where errors of it are caught."""
        import ray

        try:
            if (found := _versions()) != expected:
                told = ", ".join(f"{name} {found[name]} there and {expected[name]} here" for name in SAME if found[name] != expected[name])
                raise EvenhandError(
                    f"A machine of the Ray cluster has other packages: {told}. Expected: the same everywhere. To do: install the same on all."
                )
            self.piece = ray.get(held[0])()
        except Exception as error:
            return carried(error)
        return Up()

    def do(self, piece: Any) -> Any:
        try:
            return self.piece(piece)
        except Exception as error:
            return carried(error)
