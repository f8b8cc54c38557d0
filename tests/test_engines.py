"""Engines: every piece once, whoever dies. Ray's are tested on a cluster of three nodes, here on this machine, and skipped without the extra."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import pytest
import ray_work
from typer.testing import CliRunner

from evenhand.core import EvenhandError
from evenhand.engines import Engine, Lost
from evenhand.engines.asked import asked
from evenhand.engines.here import InProcess, Processes, processes

HERE = Path(__file__).parent
STORE = 80 * 2**20
# Ray reads these once, when it is imported: nodes on the loopback interface, and no reports
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")  # no longer: while this process is connected to Ray, every process it starts loads all anew
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three nodes of one core; the first is the driver's own."""
    os.environ |= ON_LOOPBACK
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    path = os.environ.get("PYTHONPATH", "")
    folder = tempfile.TemporaryDirectory(prefix="rays-", ignore_cleanup_errors=True)  # a path of pytest is too long for a socket
    # What a package of the tests (jsonschema's) builds at every import takes longer than all else that a process of Ray does until it is ready
    (Path(folder.name) / "rfc3987_syntax.py").write_text("raise ImportError")
    os.environ["PYTHONPATH"] = os.pathsep.join([folder.name, str(HERE), path])  # workers read `ray_work`
    (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)  # where a cluster for tests writes its address
    head = {"temp_dir": folder.name, "no_monitor": True, "num_gpus": 1}  # a GPU in name, of which Ray takes account
    found = Cluster(initialize_head=True, head_node_args=node() | head)
    for _ in range(2):
        found.add_node(**node())
    yield found
    found.shutdown()
    folder.cleanup()
    os.environ["PYTHONPATH"] = path


def node() -> dict[str, Any]:
    return {
        "num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "include_log_monitor": False, "node_ip_address": "127.0.0.1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def on_cluster(cluster: Any) -> Iterator[Engine]:
    from evenhand.engines.on_ray import on_ray

    with on_ray(cluster.address) as engine:
        yield engine


@pytest.fixture
def engine(on_cluster: Engine) -> Engine:
    """That of this file; test_engine_here.py asks the same of processes of this machine."""
    return on_cluster


def results(found: Any) -> dict[int, Any]:
    """By number; a number that came twice is an error."""
    out: dict[int, Any] = {}
    for number, result in found:
        assert number not in out
        out[number] = result
    return out


def values(found: Any) -> dict[int, int]:
    return {number: result[0] for number, result in results(found).items()}


SQUARES = {n: n * n for n in range(9)}


def test_results_are_those_of_one_process_and_workers_hold_what_they_were_given(engine: Engine) -> None:
    wanted = results(InProcess().run(partial(ray_work.squares, 7), range(9)))
    found = results(engine.run(partial(ray_work.squares, 7), iter(range(9))))
    assert {n: r[0] for n, r in found.items()} == {n: r[0] for n, r in wanted.items()} == {n: n * n + 7 for n in range(9)}
    assert os.getpid() not in {process for _, process in found.values()}
    assert len({process for _, process in found.values()}) <= engine.at_once
    assert results(engine.run(partial(ray_work.squares, 0), [])) == {}
    assert set(results(engine.run(ray_work.threads, range(3), at_once=1)).values()) == {"1"}


def test_a_piece_that_kills_its_process_is_lost_and_all_others_come(engine: Engine) -> None:
    found = results(engine.run(partial(ray_work.deadly, 3), range(9)))
    lost = found.pop(3)
    assert isinstance(lost, Lost)
    assert "out of memory?" in lost.why
    assert {n: r[0] for n, r in found.items()} == {n: s for n, s in SQUARES.items() if n != 3}


def test_a_process_that_dies_once_costs_no_result(engine: Engine, tmp_path: Path) -> None:
    assert values(engine.run(partial(ray_work.deadly_once, tmp_path), range(2))) == {0: 0, 1: 1}


@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        ("data", EvenhandError, "it is odd. Expected: even"),
        ("disk", OSError, "No space left"),
        ("own", RuntimeError, r"KeyError: 'k' \(ray_work.py"),
    ],
)
def test_what_the_work_raises_is_raised_here(engine: Engine, what: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        list(engine.run(partial(ray_work.failing, what), range(9)))


def test_what_fails_before_the_first_piece_is_told(engine: Engine) -> None:
    with pytest.raises(EvenhandError, match="there is no model"):
        list(engine.run(ray_work.failing_start, range(2)))


def test_workers_that_never_start_do_not_keep_anybody_waiting() -> None:
    with pytest.raises(EvenhandError, match="die before they begin: its process ended with signal 9"):
        list(Processes(2).run(ray_work.dying_start, range(2)))


def test_no_more_is_read_than_is_worked_on() -> None:
    read: list[int] = []

    def work() -> Iterator[int]:
        for n in range(9):
            read.append(n)
            yield n

    running = Processes(2).run(partial(ray_work.squares, 0), work())
    next(running)
    assert len(read) <= 3
    running.close()  # type: ignore[attr-defined]


def test_a_sign_of_life_comes_while_nothing_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("evenhand.engines.BEAT", 0.05)
    beats: list[float] = []
    list(Processes(1).run(partial(ray_work.slow_squares, tmp_path, 0.4), [1], beat=lambda: beats.append(time.monotonic())))
    assert len(beats) >= 3


def test_processes_that_start_anew_give_the_same(tmp_path: Path) -> None:
    assert values(Processes(1).run(partial(ray_work.squares, 0), range(2), gpu=True)) == {0: 0, 1: 1}


def test_as_many_processes_as_cores_unless_somebody_says() -> None:
    assert (processes(0).at_once, processes(3).at_once) == (os.cpu_count(), 3)
    with pytest.raises(EvenhandError, match="jobs is -1"):
        processes(-1)


PARENT = """
import sys
from functools import partial
from pathlib import Path
import ray_work
from evenhand.engines.asked import asked
from evenhand.engines.here import Processes
list(Processes(3).run(partial(ray_work.slow_squares, Path(sys.argv[1]), 60), range(9)))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_processes_end_with_their_parent_however_it_ends(end: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        stderr=subprocess.DEVNULL,
    )
    workers = begun(tmp_path, 3)
    parent.send_signal(end)
    parent.wait(60)
    assert ended(workers)


def begun(folder: Path, count: int) -> list[int]:
    """Processes of `slow_squares` that are at work, once there are so many."""
    deadline = time.monotonic() + 60
    while len(found := at_work(folder)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(found) >= count
    return found


def at_work(folder: Path) -> list[int]:
    return [int(f.name.partition("-")[2]) for f in folder.iterdir()]


def ended(processes: list[int]) -> bool:
    """Whether they all are, by now or soon."""
    deadline = time.monotonic() + 60
    while any(running(pid) for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(running(pid) for pid in processes)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- Ray alone

OWN_METHOD = """
from dataclasses import dataclass
from evenhand.methods.bradley_terry import BradleyTerry

@dataclass(frozen=True)
class Own(BradleyTerry):
    pass
"""


def test_trials_on_a_cluster_have_the_figures_of_this_machine(on_cluster: Engine, tmp_path: Path) -> None:
    """To the bit, with both kinds of features, a stack, a method from a file that the workers do not have, and one that kills its process."""
    import evenhand
    from evenhand.data.simulate import simulated_users
    from evenhand.methods.bradley_terry import BradleyTerry
    from evenhand.methods.collaborative import CollaborativeMethod
    from evenhand.models.linear import Linear
    from evenhand.parts import part
    from evenhand.training.schedule import Schedule
    from evenhand.workflows.trials import Bench, Entry, Trial

    data = simulated_users(seed=3, users=40, minority=0.2, pairs_per_user=20)
    short = {"head": Linear(), "schedule": Schedule(max_epochs=2)}
    (file := tmp_path / "own.py").write_text(OWN_METHOD)
    own = part("methods", f"{file}:Own")(**short)
    file.unlink()
    plain = BradleyTerry(**short)
    entries = [Entry("plain", plain), Entry("also plain", replace(plain, schedule=Schedule(max_epochs=3)))]
    entries += [Entry("own", own), Entry("collaborative", CollaborativeMethod())]
    found = []
    for name, trains in (("here", InProcess(2)), ("there", replace(on_cluster, at_once=2))):  # type: ignore[type-var]
        bench = Bench(data, evenhand.Encoding(None, dim=8), evenhand.Grouping(("taste",)), tmp_path / name, trains)
        found.append(list(bench.run(entries, [0], lambda *step: None, lambda note: None, at_once=2)))
    assert {f.name for f in (tmp_path / "here").iterdir()} == {f.name for f in (tmp_path / "there").iterdir()}
    for here, there in zip(*found, strict=True):
        assert isinstance(here, Trial)
        assert isinstance(there, Trial), there
        assert replace(here, seconds=0, arrays={}) == replace(there, seconds=0, arrays={})
        assert here.arrays.keys() == there.arrays.keys()
        assert all(a.tobytes() == there.arrays[name].tobytes() for name, a in here.arrays.items())


def test_workers_with_other_packages_are_refused(on_cluster: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from evenhand.engines import on_ray

    monkeypatch.setattr(on_ray, "_versions", lambda: {"evenhand": "9.9", "numpy": "1", "torch": "2"})
    with pytest.raises(EvenhandError, match=r"other packages: evenhand .* there and 9\.9 here.*Expected: the same everywhere"):
        list(on_cluster.run(partial(ray_work.squares, 0), range(2)))


@pytest.mark.parametrize(
    ("engine", "address", "said"),
    [
        ("ray", "127.0.0.1:1", "Nothing answers at '?127.0.0.1:1'?.*Expected: HOST:PORT.*To do: correct --address"),
        ("ray", "ray://10.0.0.1:10001", "Expected: HOST:PORT.*ray job submit"),
        ("ray", "head", "Found the address '?head'?. Expected: HOST:PORT"),
        ("here", "10.0.0.1:6379", "--address without --engine ray"),
        ("spark", None, "no engine '?spark'?. Expected: here or ray"),
    ],
)
def test_what_is_no_cluster_is_told_at_once(engine: str, address: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(EvenhandError, match=said), asked(engine, address, InProcess()):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EvenhandError, match=r"pip install 'evenhand\[ray\]'"), asked("ray", None, InProcess()):
        pass


ALONE = """
import sys
from functools import partial
from pathlib import Path
import ray_work
from evenhand.engines.on_ray import on_ray
with on_ray(jobs=1) as engine:
    print(Path(sys.argv[1]), flush=True)
    list(engine.run(partial(ray_work.slow_squares, Path(sys.argv[1]), 60), range(2)))
"""


def test_a_ray_of_this_machine_is_on_loopback_and_leaves_nothing(tmp_path: Path) -> None:
    """Started where no address is given; interrupted in the middle of its work."""
    pytest.importorskip("ray")
    (work := tmp_path / "work").mkdir()
    (home := tmp_path / "home").mkdir()
    (folder := Path(tempfile.mkdtemp(prefix="t-"))).joinpath("rfc3987_syntax.py").write_text("raise ImportError")
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(folder), str(HERE), *sys.path])
    asking = subprocess.Popen(
        [sys.executable, "-c", ALONE, work],
        env=own | {"PYTHONPATH": path, "HOME": str(home), "TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=home,
    )  # fmt: skip
    begun(work, 1)
    started = descendants(asking.pid)
    assert len(started) >= 3
    assert {address for pid in started for address in listening(pid)} <= {"0100007F", "0000000000000000FFFF00000100007F"}
    asking.send_signal(signal.SIGINT)
    out, error = asking.communicate(timeout=60)
    assert out.decode().split() == [str(work)]  # Ray prints nothing of its own
    assert error.decode().rstrip().endswith("KeyboardInterrupt")
    assert ended(started)
    assert list(home.rglob("*")) == []
    assert {f.name for f in folder.iterdir()} <= {"rfc3987_syntax.py", "__pycache__"}
    shutil.rmtree(folder)


def descendants(pid: int) -> list[int]:
    parents = {int(f.name): parent(int(f.name)) for f in Path("/proc").iterdir() if f.name.isdigit() and running(int(f.name))}
    found, new = list[int](), {pid}
    while new:
        new = {child for child, of in parents.items() if of in new}
        found += new
    return found


def listening(pid: int) -> set[str]:
    """Addresses of its TCP sockets that wait for others, as the system writes them."""
    with suppress(OSError):
        sockets = {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
        return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}
    return set()


def test_a_node_and_a_worker_that_go_cost_no_result(on_cluster: Engine, cluster: Any, tmp_path: Path) -> None:
    """In the middle of the work one of three nodes is taken away and a worker on another is killed: each piece comes, none twice."""
    gone: list[Any] = []
    work = takewhile(lambda n: n < 30 or not gone, count())  # on a busy machine the second worker comes late
    found, got = on_cluster.run(partial(ray_work.slow_squares, tmp_path, 0.2), work), []
    while len(nodes := {parent(pid): pid for pid in at_work(tmp_path)}) < 2:
        got.append(next(found))
    gone += [n for n in cluster.worker_nodes if n.all_processes["raylet"][0].process.pid in nodes][:1]
    del nodes[gone[0].all_processes["raylet"][0].process.pid]
    cluster.remove_node(gone[0], allow_graceful=False)
    os.kill(nodes.popitem()[1], signal.SIGKILL)
    came = values([*got, *found])
    assert came == {n: n * n for n in range(max(30, len(came)))}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_rows_are_scored_by_workers_as_by_one_process(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from test_score import CANDIDATES, MODEL, choices, lines

    import evenhand
    from evenhand.data import scorable

    monkeypatch.setattr(scorable, "AT_ONCE", 8)  # rows of a batch
    rows, history = tmp_path / "rows.parquet", lines(tmp_path / "choices.jsonl", choices())
    pq.write_table(pa.Table.from_pylist(CANDIDATES), rows)
    here = evenhand.score(MODEL, rows, history=history, leave_own_out=True)
    assert len(here.kept) > 2
    kept = tmp_path / "unfinished"
    there = evenhand.score(MODEL, rows, history=history, leave_own_out=True, engine=engine, unfinished=kept)
    assert there.to_dict() == here.to_dict()
    parts = sorted(kept.glob("part-*.safetensors"))
    assert len(parts) == len(here.kept)
    parts[1].unlink()
    assert evenhand.score(MODEL, rows, history=history, leave_own_out=True, engine=engine, unfinished=kept).to_dict() == here.to_dict()


def test_texts_are_encoded_by_workers_as_by_one_process(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from tiny_models import tiny_bert

    from evenhand.encode import cache
    from evenhand.encode.backbone import Backbone
    from evenhand.encode.backbone_encoder import BackboneEncoder

    monkeypatch.setattr(cache, "BLOCK", 8)
    encoder = BackboneEncoder(Backbone(str(tiny_bert(tmp_path / "bert")), rank=2))
    texts = [f"text {i % 17} of some {'long ' * (i % 5)}length" for i in range(40)]
    wanted = encoder.encode(texts)
    found = cache.encode_cached(texts, encoder, tmp_path / "cache", engine=engine)
    assert np.abs(found - wanted).max() < 1e-5
    again = cache.encode_cached(texts, encoder, tmp_path / "cache")  # from the cache
    assert np.array_equal(again, found)


@dataclass(frozen=True)
class Asked(InProcess):
    """Notes whether the work was said to need a GPU."""

    said: list[bool] = field(default_factory=list)

    def run(self, hold: Any, work: Any, *, at_once: int | None = None, gpu: bool = False, beat: Any = None) -> Any:
        self.said.append(gpu)
        return super().run(hold, work)


def test_workers_that_compute_on_a_gpu_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from test_score import CANDIDATES, MODEL, choices, lines
    from tiny_models import tiny_bert

    import evenhand
    from evenhand.encode.backbone import Backbone
    from evenhand.encode.backbone_encoder import BackboneEncoder, on_gpu
    from evenhand.encode.minilm import MiniLM
    from evenhand.workflows import responses, rewarding

    encoder = BackboneEncoder(Backbone(str(tiny_bert(tmp_path / "bert")), device="cpu"))
    engine, pairs = Asked(), evenhand.load(lines(tmp_path / "choices.jsonl", choices()))
    for gpu in (False, True):
        for module in (responses, rewarding):
            monkeypatch.setattr(module, "on_gpu", lambda found, gpu=gpu: gpu)
        responses.encode_responses(pairs, encoder, False, tmp_path / str(gpu), engine=engine)
        evenhand.score(MODEL, lines(tmp_path / "rows.jsonl", CANDIDATES), engine=engine)
    assert engine.said == [False, False, True, True]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    anywhere = BackboneEncoder(Backbone(str(tmp_path / "bert")))
    assert [on_gpu(found) for found in (anywhere, encoder, MiniLM(), None)] == [True, False, False, False]


def test_words_are_tagged_by_workers_as_by_one_process(engine: Engine, tmp_path: Path) -> None:
    from evenhand.texts.reading import rule_tagger
    from evenhand.texts.reading.kept import kept

    texts = [f"Ask number {i} for the plan. We may call it later." for i in range(150)]
    found = kept(texts, "b" * 64, rule_tagger.records, tmp_path, engine=engine)
    assert found == dict(zip(texts, rule_tagger.records(texts), strict=True))


def test_an_address_without_an_engine_is_told(tmp_path: Path) -> None:
    """Where no engine is asked for, nothing else would look at the address."""
    from evenhand.cli import app

    (tmp_path / "p.jsonl").write_text('{"prompt": "Write of trains.", "prompt_id": "p"}\n')
    words = ["generate", str(tmp_path / "p.jsonl"), "--model", "smollm2", "--out", str(tmp_path / "o.jsonl")]
    done = CliRunner().invoke(app, [*words, "--address", "10.0.0.1:6379"])
    assert "--address without --engine ray" in str(done.exception)


def test_workers_that_a_run_has_left_give_their_cores_to_a_later_one_on_gpus(on_cluster: Engine, cluster: Any, tmp_path: Path) -> None:
    """Every core is held by an idle worker; the GPU's machine has no other."""
    cores = 1 + len(cluster.worker_nodes)  # Ray's own count has a node that went a moment longer

    def patience() -> Callable[[], None]:
        beats: list[int] = []

        def beat() -> None:
            beats.append(1)
            assert len(beats) < 12, "nothing ends"

        return beat

    all_at_once = partial(ray_work.together, tmp_path, cores)
    assert len({process for _, process in results(on_cluster.run(all_at_once, range(cores), beat=patience())).values()}) == cores
    assert values(on_cluster.run(partial(ray_work.squares, 0), range(2), at_once=1, gpu=True, beat=patience())) == {0: 0, 1: 1}
