"""Real kills of trainings on texts: a method's fit ends by SIGKILL at a random point, is run again on the folder of its checkpoints, and must
come out bit by bit as it does undisturbed: weights, features, margins and traces of all that it trained, seconds aside.

    python benchmarks/resumes.py --kills 60
    python benchmarks/resumes.py --kills 6 --cases "tiny llama, pafo"

A round is up to three kills on one folder, each in a new process, the last on what the others left, and then one run to the end. A kill comes at
a call, counted from the start: of all calls of training code, or of those alone that write a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from evenhand.core import Pairs, Tuning
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro
from evenhand.methods.group_dro import GroupDRO
from evenhand.methods.maxmin import MaxMin
from evenhand.methods.mgda import MGDA
from evenhand.methods.pafo import Pafo
from evenhand.methods.penalty import Penalty
from evenhand.methods.vpl import VplMethod
from evenhand.models.lore import Lore
from evenhand.testing import LinearTexts, two_tastes, with_events
from evenhand.training.checkpoint import checkpointing
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import margins
from evenhand.training.state_bytes import digest
from evenhand.training.traces import Fitted
from evenhand.training.tuned import Tuned

TRAIN, SAVE = "train", "save"
CODE = {TRAIN: ("/evenhand/training/", "/evenhand/methods/"), SAVE: ("/evenhand/writing.py", "/evenhand/training/checkpoint.py")}
SECONDS = ("seconds", "pairs_per_second", "texts_per_second")
BASE = BradleyTerry(Lore(3), Schedule(lr=1e-2, weight_decay=0.05, dropout=0.1, max_epochs=2))
METHODS: dict[str, Any] = {
    "bradley_terry": BASE,
    "pafo": Pafo(BASE),
    "faro": Faro(BASE, gamma=0.02, step=0.1),
    "faro, swap-regret": Faro(BASE, swap=True, gamma=0.02),
    "group_dro": GroupDRO(BASE, eta=1.0),
    "vpl": VplMethod(BASE, kl=0.1, anneal=20),
    "maxmin": MaxMin(BASE, memory=0.9),
    "mgda": MGDA(BASE),
    "penalty": Penalty(BASE),
}


def linear(users: int = 40) -> tuple[Pairs, Pairs]:
    """A world in which the coordinates of taste are hidden at first, and an adapter can bring them back."""
    train, valid, _ = (with_events(p) for p in two_tastes(n_users=users, pairs=8, held_out=4))
    shown = torch.arange(train.items.shape[1]) >= 4
    seen = torch.where(shown, train.items, 0.0)
    texts = LinearTexts(seen, train.items[:, ~shown], Tuning(steps=11, eval_every=4, lr=0.05, batch_texts=120))
    return tuple(replace(p, history=replace(p.history, items=seen), texts=texts) for p in (train, valid))  # type: ignore[return-value]


def llama(folder: Path) -> tuple[Pairs, Pairs]:
    """The same on a tiny Llama with LoRA."""
    from tiny_models import SENTENCES, tiny_llama

    from evenhand.encode.backbone import Backbone
    from evenhand.encode.backbone_encoder import BackboneEncoder
    from evenhand.encode.texts import EncodedTexts

    train, valid, _ = (with_events(p) for p in two_tastes(n_users=10, pairs=4, held_out=2))
    backbone = Backbone(str(tiny_llama(folder / "llama")), rank=4, tuning=Tuning(steps=5, eval_every=2, lr=0.01, batch_texts=30))
    draw, words = random.Random(0), " ".join(SENTENCES).split()
    wording = [" ".join(draw.choices(words, k=draw.randint(2, 8))) for _ in range(len(train.items))]
    texts = EncodedTexts(backbone, BackboneEncoder(backbone).tokenized(wording)[0])
    items = texts.encode(texts.adapter(0), torch.arange(len(wording)))
    return tuple(replace(p, history=replace(p.history, items=items), texts=texts) for p in (train, valid))  # type: ignore[return-value]


def outcome(fitted: Fitted, valid: Pairs) -> dict[str, Any]:
    """All that a fit gives, by digest where it is long."""
    scorer, constrained = fitted.scorer, fitted.constrained
    assert isinstance(scorer, Tuned)
    return {
        "weights": digest([p for _, p in sorted(scorer.named_parameters())]),
        "features": digest([scorer.bank.features, scorer.bank.fresh]),
        "margins": digest([margins(scorer, valid)]),
        "trace": {name: value for name, value in asdict(fitted.trace).items() if name not in SECONDS},
        "target": digest([fitted.target]),
        "constrained": constrained and [constrained.train, constrained.valid, constrained.multipliers],
        "guard": fitted.guard and asdict(fitted.guard),
        "parts": {name: outcome(part, valid) for name, part in fitted.parts.items()},
    }


@dataclass
class Case:
    """A method on some pairs, and what it gives undisturbed. calls: of each kind of code, in a whole run that starts from nothing."""

    name: str
    method: Any
    train: Pairs
    valid: Pairs
    steps: int = 3  # between checkpoints
    whole: Any = None
    calls: dict[str, int] | None = None

    def undisturbed(self, place: Path) -> None:
        """Without checkpoints at all."""
        self.whole = json.loads(json.dumps(outcome(self.method.fit(self.train, self.valid, 0), self.valid)))
        place.mkdir(parents=True, exist_ok=True)
        assert self.start(place, count=True) == 0
        told = json.loads((place / "result.json").read_text())
        self.calls = told["calls"]
        assert told["outcome"] == self.whole, f"{self.name}: checkpoints change the fit"

    def start(self, place: Path, kind: str = "", call: int = 0, *, count: bool = False) -> int:
        """A run in a process of its own, killed at a call of a kind; 0 = not at all. Its exit status, < 0 = the signal that ended it."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        status = 1
        try:
            self._run(place, kind, call, count)
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    def _run(self, place: Path, kind: str, call: int, count: bool) -> None:
        calls, said = dict.fromkeys(CODE, 0), []

        kinds: dict[str, list[str]] = {}  # of each file

        def called(frame: FrameType, event: str, argument: Any) -> None:
            file = frame.f_code.co_filename
            if file not in kinds:
                kinds[file] = [name for name, files in CODE.items() if any(f in file for f in files)]
            for name in kinds[file]:
                calls[name] += 1
                if name == kind and calls[name] == call:
                    os.kill(os.getpid(), signal.SIGKILL)

        if kind or count:
            sys.setprofile(called)
        with checkpointing(place / "kept", steps=self.steps, minutes=None, identity={"method": self.name}, say=said.append):
            fitted = self.method.fit(self.train, self.valid, 0)
        sys.setprofile(None)
        found = {"outcome": outcome(fitted, self.valid), "calls": calls, "said": said}
        (place / "result.json").write_text(json.dumps(found))

    def resumed(self, place: Path) -> tuple[bool, list[str]]:
        """A run to the end, if none came there: whether it gives what it gives undisturbed and leaves nothing behind, and what it said."""
        if not (place / "result.json").exists() and self.start(place) != 0:
            return False, []
        told = json.loads((place / "result.json").read_text())
        return told["outcome"] == self.whole and not (place / "kept").exists(), told["said"]


def cases(place: Path, names: str = "") -> Iterator[Case]:
    worlds: dict[str, Callable[[], tuple[Pairs, Pairs]]] = {"linear": linear, "tiny llama": partial(llama, place)}
    for world, made in worlds.items():
        wanted = [n for n in METHODS if world == "linear" or n in ("bradley_terry", "pafo", "vpl")]
        wanted = [n for n in wanted if not names or f"{world}, {n}" in names.split("; ")]
        pairs = made() if wanted else None
        for name in wanted:
            assert pairs is not None
            yield Case(f"{world}, {name}", METHODS[name], *pairs, steps=3 if world == "linear" else 1)


def main(arguments: list[str] | None = None) -> dict[str, int]:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=60)
    asked.add_argument("--cases", default="", help='separated by "; "; default all')
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args(arguments)
    torch.set_num_threads(1)
    rng, began = random.Random(told.seed), time.monotonic()
    counted = {"kills": 0, "rounds": 0, "different": 0}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        every = list(cases(place, told.cases))
        for n, case in enumerate(every):
            case.undisturbed(place / f"case-{n}")
            print(f"{case.name}: {case.calls} calls", flush=True)
        while counted["kills"] < told.kills:
            case = every[counted["rounds"] % len(every)]
            assert case.calls is not None
            here, hits = place / "round", []
            here.mkdir()
            for _ in range(min(rng.randint(1, 3), told.kills - counted["kills"])):
                kind = rng.choice((TRAIN, SAVE))
                call = rng.randint(1, case.calls[kind])
                status = case.start(here, kind, call)
                if status != -signal.SIGKILL:  # it had so little left to do that it came to its end
                    break
                counted["kills"] += 1
                hits.append(f"{kind} call {call} of {case.calls[kind]}")
            same, said = case.resumed(here)
            counted["different"] += not same
            counted["rounds"] += 1
            print(f"{case.name}: killed at {'; '.join(hits)}: {'the same bits' if same else 'DIFFERENT'}. {' '.join(said)}", flush=True)
            shutil.rmtree(here)
    print(f"{', '.join(f'{n} {what}' for what, n in counted.items())}, {time.monotonic() - began:.0f} s")
    return counted


if __name__ == "__main__":
    sys.exit(1 if main()["different"] else 0)
