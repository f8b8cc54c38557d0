"""Real kills of one rank of several: `fit` on a tiny language model under torchrun's own agent, a rank ends by SIGKILL, the same command is run
again, and model and report must be those of a run that nobody disturbed, byte by byte (dates and seconds aside, see `kills.masked`).

    python nightly/rank_kills.py --kills 50
    python nightly/rank_kills.py --kills 0 --torchrun 6     # processes of `torchrun` itself, which take long to start
    python nightly/rank_kills.py --kills 0 --trainings 50   # PAFO's training alone, between two sums over ranks; 1, 2 or 4 ranks go on

A round is up to three kills on one folder, the last on what the others left, and then one whole run. A kill comes at a call of training code, at
a file-system step under the folder of the report (the first rank alone writes), or at any moment. Printed: what each run went on from, and how
long after the kill the last process was gone. So that 50 kills take minutes, the agent forks its ranks from a process that has loaded
everything; with --torchrun it starts them as the shell does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from kills import alive, left
from outcome import TESTS, ended

sys.path.insert(0, str(TESTS))

OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "EVENHAND_CACHE": "cache"}
TRAIN, SAVE, MOMENT = "train", "save", "moment"
CODE = ("/evenhand/training/", "/evenhand/methods/", "/evenhand/encode/", "/evenhand/ranks.py")
WAIT = 120.0  # seconds until everything must have ended
COMMAND = """fit choices.jsonl --method pafo --head low_rank --set max_epochs=2 --group-by taste --constraint eo=0.05 --require worst_group>=1
    --backbone ../llama --lora-rank 2 --steps 6 --batch-texts 24 --chunk-tokens 100 --max-tokens 40 --without-prompt --simulated --out out"""


@dataclass(frozen=True)
class Kill:
    """Rank `rank` ends at step `number` of a kind, or so many seconds after it began."""

    rank: int
    kind: str
    number: float

    def __str__(self) -> str:
        return f"rank {self.rank} " + (f"after {self.number:.1f} s" if self.kind == MOMENT else f"{self.kind} step {self.number:,.0f}")


@dataclass
class Run:
    """How a run ended. seconds: from the kill, or from the start where there was none, until no process of it was left."""

    code: int
    said: str
    seconds: float
    killed: bool

    @property
    def began(self) -> str:
        """What it went on from, by its own words."""
        found = re.search(r"going on from (.*?)\.$", self.said, re.MULTILINE)
        return found[1] if found else "the beginning"


def fit(kill: Kill | None, often: int, counts: str) -> None:
    """The command, as one rank runs it. often: steps between checkpoints. counts: file for the number of steps of each kind, "" = none."""
    import torch

    import evenhand.cli
    from evenhand.training.checkpoint import checkpointing

    torch.set_num_threads(1)  # before a second thread computes: this is a copy of a process, without torch's threads
    own, folder, rank = os.getpid(), os.path.abspath("out"), int(os.environ["RANK"])
    steps = Counter[str]()
    mine = kill is not None and kill.rank == rank and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"

    def step(kind: str) -> None:
        steps[kind] += 1
        if mine and kill is not None and kind == kill.kind and steps[kind] == kill.number:
            end()

    def end() -> None:
        Path("killed").write_text(str(time.monotonic()))
        os.kill(own, signal.SIGKILL)

    def called(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and any(part in frame.f_code.co_filename for part in CODE):
            step(TRAIN)

    def touched(event: str, arguments: Any) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and os.path.abspath(str(arguments[0])).startswith(folder):
            step(SAVE)

    if counts or (mine and kill is not None and kill.kind == SAVE):
        sys.addaudithook(touched)
    if counts or (mine and kill is not None and kill.kind == TRAIN):
        sys.setprofile(called)
    if mine and kill is not None and kill.kind == MOMENT:
        threading.Timer(kill.number, end).start()
    leaving = os._exit

    def left_with(code: int) -> None:
        if counts:
            Path(f"{counts}-{rank}").write_text(json.dumps(steps))
        leaving(code)

    settings = checkpointing.__wrapped__.__kwdefaults__  # type: ignore[attr-defined]
    with mock.patch.dict(settings, steps=often), mock.patch.object(os, "_exit", left_with), mock.patch("evenhand.cli.LATER", 0.5):
        sys.argv = ["evenhand", *COMMAND.split()]
        evenhand.cli.main()


def forked(ranks: int, place: Path, kill: Kill | None, often: int, counts: str = "") -> int:
    """Process id of torchrun's agent, in a session of its own, which forks its ranks."""
    if agent := os.fork():
        return agent
    try:
        os.setsid()
        os.chdir(place)
        out = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.environ.update(OFFLINE)
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=ranks, rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id=str(uuid.uuid4()),
            max_restarts=0, start_method="fork",
        )  # fmt: skip
        elastic_launch(config, fit)(kill, often, counts)
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def started(ranks: int, place: Path, kill: Kill | None, often: int, counts: str = "") -> int:
    """The same by torchrun, as the shell starts it."""
    told = [json.dumps(None if kill is None else vars(kill)), str(often), counts]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    out = (place / "said").open("w")
    env = {**os.environ, **OFFLINE}
    return subprocess.Popen(
        [*torchrun, __file__, "--as-rank", *told], cwd=place, env=env, stdout=out, stderr=out, start_new_session=True
    ).pid


@dataclass
class Command:
    """The command on `ranks` ranks: how its runs are started, what it leaves undisturbed, how many steps each rank has and how long it takes."""

    ranks: int
    root: Path
    start: Any
    whole: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0

    def fresh(self, name: str) -> Path:
        place = self.root / name
        place.mkdir()
        shutil.copy(self.root / "choices.jsonl", place)
        return place

    def run(self, place: Path, kill: Kill | None = None, often: int = 2, counts: str = "") -> Run:
        (place / "killed").unlink(missing_ok=True)
        began = time.monotonic()
        agent = self.start(self.ranks, place, kill, often, counts)
        code = os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1])
        while alive(agent):
            assert time.monotonic() - began < self.seconds + WAIT, "a rank outlived its agent"
            time.sleep(0.05)
        killed = place / "killed"
        since = float(killed.read_text()) if killed.exists() else began
        return Run(code, (place / "said").read_text(), time.monotonic() - since, killed.exists())

    def undisturbed(self) -> None:
        place = self.fresh("whole")
        first = self.run(place, counts="steps")
        self.whole = self.left(place)
        self.steps = {rank: json.loads((place / f"steps-{rank}").read_text()) for rank in range(self.ranks)}
        assert "exitcode  : 1 " in first.said or "exitcode  : 3 " in first.said, first.said
        again = self.fresh("again")
        self.seconds = self.run(again).seconds
        assert self.left(again) == self.whole, "two undisturbed runs differ"

    def left(self, place: Path) -> dict[str, Any]:
        return left(place / "out")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=50)
    asked.add_argument("--torchrun", type=int, default=0, help="kills of processes that torchrun starts")
    asked.add_argument("--trainings", type=int, default=0, help="kills of a training without its report")
    asked.add_argument("--ranks", type=int, default=2)
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args()
    counted = {"kills": 0, "rounds": 0, "different": 0, "too late": 0}
    with tempfile.TemporaryDirectory() as folder:
        for wanted, start in ((told.kills, forked), (told.torchrun, started)):
            if wanted:
                root = Path(folder) / start.__name__
                root.mkdir()
                killed(Command(told.ranks, root, start), wanted, random.Random(told.seed), counted)
        if told.trainings:
            trainings(Path(folder), told.ranks, told.trainings, random.Random(told.seed), counted)
    different = counted.pop("different")
    return ended("rank_kills", counted, ["another model or report, or files left over"] * different)


def killed(command: Command, wanted: int, rng: random.Random, counted: dict[str, int]) -> None:
    """So many kills, in rounds."""
    prepare(command.root)
    whole_fit_here(command.fresh("here"))
    command.undisturbed()
    print(f"{command.start.__name__}: {command.ranks} ranks, {command.seconds:.1f} s undisturbed, steps {command.steps}", flush=True)
    kills, origins, gone = 0, Counter[str](), list[float]()
    while kills < wanted:
        place, hits = command.fresh(f"round-{counted['rounds']}"), []
        for _ in range(min(rng.randint(1, 3), wanted - kills)):
            kind = rng.choice((TRAIN, SAVE, MOMENT))
            rank = 0 if kind == SAVE else rng.randrange(command.ranks)
            number = rng.uniform(0, command.seconds) if kind == MOMENT else rng.randint(1, command.steps[rank][kind])
            run = command.run(place, Kill(rank, kind, number), often=rng.choice((1, 3, 100)))
            if not run.killed:  # it had so little left to do that it came to its end
                counted["too late"] += 1
                break
            kills += 1
            origins[kind_of(run.began)] += 1
            gone.append(run.seconds)
            hits.append(f"{Kill(rank, kind, number)} (from {run.began}; all gone {run.seconds:.1f} s later)")
            assert "going on" not in run.said or run.code == 1
        last = run if not run.killed else command.run(place)
        same = command.left(place) == command.whole
        stray = [p.name for p in place.rglob("*.evenhand-part")] + [p.name for p in (place / "out").glob("checkpoint")]
        counted["rounds"] += 1
        counted["different"] += not same or bool(stray)
        origins[kind_of(last.began)] += 1
        print(
            f"killed: {'; '.join(hits) or 'too late'}: then from {last.began}: {'the same bytes' if same else 'DIFFERENT'} {stray or ''}",
            flush=True,
        )
        shutil.rmtree(place)
    counted["kills"] += kills
    print(f"went on from: {', '.join(f'{what} {n} times' for what, n in origins.most_common())}")
    print(
        f"after a kill the last process was gone within {max(gone):.1f} s, half of the times {sorted(gone)[len(gone) // 2]:.1f} s",
        flush=True,
    )


def trainings(folder: Path, ranks: int, wanted: int, rng: random.Random, counted: dict[str, int]) -> None:
    """So many kills of a training on a tiny Llama, with a checkpoint after every step; in rounds of up to three, as above."""
    import numpy as np
    import peft  # noqa: F401 - once, and not in every rank
    import rank_worlds
    import torch
    from tiny_models import tiny_llama
    from transformers import LlamaModel  # noqa: F401

    def run(count: int, name: str, killed: int = -1, end: int = 0) -> dict[str, Any] | None:
        """What the first rank ends with, None where one was killed."""
        job = partial(rank_worlds.surviving, kept="kept", killed=killed, end=end)
        if killed >= 0:
            job = partial(rank_worlds.failing, job=job)
        rank_worlds.run(rank_worlds.world(count, job, folder, name))
        left = [folder / f"{name}-{count}-{number}.npz" for number in range(count)]
        found = dict(np.load(left[0])) if all(file.exists() for file in left) else None
        for file in left:
            file.unlink(missing_ok=True)
        return found

    torch.set_num_threads(1)
    tiny_llama(folder / "llama")
    rank_worlds.run(rank_worlds.world(ranks, rank_worlds.sums_of_pafo, folder, "sums"))
    sums = int(np.load(folder / f"sums-{ranks}-0.npz")["sums"])
    whole = run(1, "whole")
    assert whole is not None
    origins, kills = Counter[str](), 0
    while kills < wanted:
        hits = []
        for _ in range(min(rng.randint(1, 3), wanted - kills)):
            rank, end = rng.randrange(ranks), rng.randint(1, sums)
            if run(ranks, "killed", rank, end) is not None:  # it had so little left to do that it came to its end
                break
            hits.append(f"rank {rank} sum {end} of {sums}")
        kills += len(hits)
        count = rng.choice((1, 2, 4))
        found = run(count, "resumed")
        told = re.search("going on from (.*?)(, as .*)?\\.$", str(found and found["said"]))
        began = told[1] if told else "the beginning"
        same = found is not None and all(np.array_equal(found[name], value) for name, value in whole.items() if name != "said")
        counted["rounds"] += 1
        counted["different"] += not same
        origins[kind_of(began)] += 1
        ended = "the same bits" if same else "DIFFERENT"
        print(f"training killed: {'; '.join(hits) or 'too late'}: {count} went on from {began}: {ended}", flush=True)
    counted["kills"] += kills
    print(f"trainings went on from: {', '.join(f'{what} {n} times' for what, n in origins.most_common())}", flush=True)


def kind_of(began: str) -> str:
    """ "2 finished trainings, one that stands after step 4" → which kinds there are."""
    parts = [p for p, word in (("finished trainings", "[1-9]\\d* finished"), ("the middle of one", "after step")) if re.search(word, began)]
    return " and ".join(parts) or "the beginning"


def whole_fit_here(place: Path) -> None:
    """Without ranks, so that all that a fit imports is there when they are forked."""
    import torch

    import evenhand.cli

    torch.set_num_threads(1)
    os.environ.update(OFFLINE)
    before = os.getcwd()
    os.chdir(place)
    asked = mock.patch.object(sys, "argv", ["evenhand", *COMMAND.split()])
    with (place / "said").open("w") as out, redirect_stdout(out), redirect_stderr(out), asked, suppress(SystemExit):
        evenhand.cli.main()
    os.chdir(before)


def prepare(root: Path) -> None:
    from tiny_models import tiny_llama

    from evenhand.data.simulate import write_sample

    tiny_llama(root / "llama")
    write_sample(root / "choices.jsonl", users=32, minority=0.5, pairs_per_user=24)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-rank"]:
        one = json.loads(sys.argv[2])
        fit(one and Kill(**one), int(sys.argv[3]), sys.argv[4])
    sys.exit(main())
