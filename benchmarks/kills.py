"""Real kills: `fit`, `audit` and `compare` end by SIGKILL while they encode, train, audit or save; then the same command is run again, and
model and report are compared byte by byte with those of a run that nobody disturbed.

    python benchmarks/kills.py --kills 30 --encoder none        # or --encoder minilm
    python benchmarks/kills.py --kills 6 --verbs audit

A round is three kills on one folder, the last on what the others left, and then one whole run. Half of the kills come at a step chosen
evenly within a stage (a call of its code, or a file-system step), half at a random moment. What a whole run may differ in is named in
`masked`: the date, and the seconds that training took.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.report.numbers import number
from evenhand.writing import LIST

STAGES = {"encode": "/evenhand/encode/", "train": "/evenhand/training/", "audit": "/evenhand/audits/", "report": "/evenhand/report/"}
SAVE = "save"  # file-system steps under the folder of the report
TIMES = ("seconds", "pairs_per_second")

# Runs evenhand's entry point, and ends the process by SIGKILL at step `number` of a stage; 0 = writes how many steps each stage has.
RUNNER = """
import atexit, json, os, signal, sys
stage, number, folder, counts, stages = sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], json.loads(sys.argv[5])
steps = dict.fromkeys([*stages, "save"], 0)
own = os.getpid()
def step(name):
    steps[name] += 1
    if name == stage and steps[name] == number:
        os.kill(own, 9)
def called(frame, event, argument):
    if event == "call":
        for name, where in stages.items():
            if where in frame.f_code.co_filename:
                step(name)
def touched(event, arguments):
    if event in ("open", "os.rename", "os.remove", "os.mkdir") and os.path.abspath(str(arguments[0])).startswith(folder):
        step("save")
import evenhand.cli
if stage == "save" or not number: sys.addaudithook(touched)
if stage != "save": sys.setprofile(called)
if not number: atexit.register(lambda: os.getpid() == own and json.dump(steps, open(counts, "w")))
sys.argv = ["evenhand", *sys.argv[6:]]
evenhand.cli.main()
"""


@dataclass
class Verb:
    """A command that writes to the folder `out`; how long it takes, how many steps its stages have, and what it leaves, undisturbed."""

    name: str
    command: list[str]
    place: Path
    seconds: float = 0.0
    steps: dict[str, int] | None = None
    whole: dict[str, Any] | None = None

    def start(self, place: Path, stage: str = "", step: int = 0) -> subprocess.Popen[bytes]:
        """In a session of its own, so that nobody it leaves behind is overlooked."""
        told = [stage, str(step), str(place / "out"), str(place / "steps.json"), json.dumps(STAGES)]
        runner = [sys.executable, "-c", RUNNER, *told] if stage else [sys.executable, "-m", "evenhand.cli"]
        env = {**os.environ, "EVENHAND_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*runner, *self.command], cwd=place, env=env, start_new_session=True, **quiet)

    def undisturbed(self) -> None:
        place = self.fresh("whole")
        assert self.start(place, "count").wait() in (0, 1, 3), self.command
        self.steps = json.loads((place / "steps.json").read_text())
        again, began = self.fresh("again"), time.monotonic()
        assert self.start(again).wait() in (0, 1, 3)
        self.seconds = time.monotonic() - began
        self.whole = left(place / "out")
        assert left(again / "out") == self.whole, "two undisturbed runs differ"

    def fresh(self, name: str) -> Path:
        place = self.place / f"{self.name}-{name}"
        place.mkdir()
        for file in ("choices.jsonl", "model"):
            if (self.place / file).is_dir():
                shutil.copytree(self.place / file, place / file)
            elif (self.place / file).exists():
                shutil.copy(self.place / file, place / file)
        return place

    def kill(self, place: Path, rng: random.Random, chosen: tuple[str, float] | None) -> str:
        """One kill; what it hit. chosen: a stage and how far into it, 0 to 1; None = any moment."""
        assert self.steps is not None
        if chosen:
            step = 1 + int(chosen[1] * self.steps[chosen[0]])
            process, told = self.start(place, chosen[0], step), f"{chosen[0]} step {step} of {self.steps[chosen[0]]}"
        else:
            process, moment = self.start(place), rng.uniform(0, self.seconds)
            told = f"after {moment:.2f} s"
            time.sleep(moment)
            if process.poll() is None:
                process.kill()
        code = process.wait()
        began = time.monotonic()
        while alive(process.pid) and time.monotonic() - began < 20:
            time.sleep(0.05)
        assert not alive(process.pid), "a worker outlived its parent"
        return told if code == -signal.SIGKILL else ""


def alive(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def left(out: Path) -> dict[str, Any]:
    """What a run left, less what may differ. Of the list of files it checks here that every hash is right."""
    files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file() and "trials" not in p.parts}
    listed = json.loads(files[LIST])["files"]
    assert {n: e["sha256"] for n, e in listed.items()} == {n: [hashlib.sha256(files[n]).hexdigest()] for n in listed}
    report = json.loads(files["report.json"])
    return {name: sorted(listed) if name == LIST else masked(name, content, report) for name, content in files.items()}


def masked(name: str, content: bytes, report: Any) -> Any:
    """Without the date and the seconds that training took."""
    if name.startswith("model/"):
        return content
    if name.endswith(".json"):
        return without(json.loads(content))
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "DATE", content.decode())
    if name.endswith(".csv"):
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(io.StringIO(text))]
    text = re.sub(r"took [\d.,]+ s in all", "took SECONDS in all", text)
    for t in report.get("training", ()):
        cells = (re.escape(number(t["seconds"], 1)), re.escape(number(t["pairs_per_second"], 0)))
        text = re.sub(r"<td[^>]*>{}</td>\s*<td[^>]*>{}</td>".format(*cells), "TIMES", text)
    for e in report.get("entries", ()):
        text = re.sub(rf"<td[^>]*>{re.escape(number(e['seconds'], 0))}</td></tr>", "SECONDS", text)  # the last cell of a row of settings
    return text


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without(v) for k, v in value.items() if k not in (*TIMES, "date")}
    return [without(v) for v in value] if isinstance(value, list) else value


def main(arguments: list[str] | None = None) -> dict[str, int]:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=30)
    asked.add_argument("--encoder", default="none")
    asked.add_argument("--verbs", default="fit,audit,compare")
    asked.add_argument("--users", type=int, default=24)
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args(arguments)
    rng = random.Random(told.seed)
    counted = {"kills": 0, "rounds": 0, "different": 0, "too late": 0}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        verbs = [prepared(name, place, told.encoder, told.users) for name in told.verbs.split(",")]
        for verb in verbs:
            verb.undisturbed()
            print(f"{verb.name}: {verb.seconds:.1f} s undisturbed, steps {verb.steps}", flush=True)
        while counted["kills"] < told.kills:
            verb = verbs[counted["rounds"] % len(verbs)]
            assert verb.steps is not None
            stages = [s for s in (SAVE, *STAGES) if verb.steps[s]]
            here, hits = verb.fresh(f"round-{counted['rounds']}"), []
            for turn in range(min(3, told.kills - counted["kills"])):
                at = rng.random()
                hit = verb.kill(
                    here, rng, None if turn == 1 else (stages[(counted["rounds"] // len(verbs) * 2 + turn // 2) % len(stages)], at)
                )
                counted["kills" if hit else "too late"] += 1
                hits += [hit or "too late"]
            done = verb.start(here).wait()
            same = done in (0, 1, 3) and left(here / "out") == verb.whole
            stray = [p.name for p in here.rglob("*.evenhand-part")]
            counted["rounds"] += 1
            counted["different"] += not same or bool(stray)
            print(
                f"{verb.name}: killed at {'; '.join(hits)}: {'the same bytes' if same else f'DIFFERENT (exit {done})'} {stray or ''}",
                flush=True,
            )
            shutil.rmtree(here)
    print(", ".join(f"{n} {what}" for what, n in counted.items()))
    return counted


def prepared(name: str, place: Path, encoder: str, users: int) -> Verb:
    """A verb and the files it needs in `place`."""
    from evenhand.data.simulate import write_sample

    data = place / "choices.jsonl"
    if not data.exists():
        write_sample(data, users=users, minority=0.3, pairs_per_user=24)
        rows = [json.loads(line) for line in data.read_text().splitlines()]
        data.write_text("".join(json.dumps(r | {"score": len(r["rejected"]) - len(r["chosen"])}) + "\n" for r in rows))
    commands = {
        "fit": ["fit", data.name, "--method", "pafo", "--group-by", "taste", "--encoder", encoder, "--set", "max_epochs=3", "--out", "out"],
        "audit": ["audit", data.name, "--scores", "score", "--group-by", "taste", "--out", "out"],
        "compare": [
            "compare",
            data.name,
            "--encoder",
            encoder,
            "--methods",
            "lore",
            "--seeds",
            "1",
            "--tune",
            "0",
            "--jobs",
            "2",
            "--out",
            "out",
        ],
    }
    return Verb(name, commands[name], place)


if __name__ == "__main__":
    sys.exit(1 if main()["different"] else 0)
