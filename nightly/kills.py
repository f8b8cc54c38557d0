"""Real kills: verbs end by SIGKILL while they read, encode, train, audit, write texts or save; then the same command is run again, and all that
it leaves is compared byte by byte with what a run leaves that nobody disturbed.

    python nightly/kills.py --kills 200
    python nightly/kills.py --kills 6 --verbs audit,fit --encoder minilm

A round is three kills on one folder, the last on what the others left, and then one whole run. Half of the kills come at a step chosen evenly
within a stage (a call of its code, or a file-system step), half at a random moment. After each: nobody is left running, no file that was there
before has changed, and what bears a final name is whole. At the end no file lies there that an undisturbed run does not leave. What two whole
runs may differ in is named in `masked`: the date, and seconds.
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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from outcome import TESTS, ended

sys.path.insert(0, str(TESTS))

from evenhand.writing import LIST

STAGES = {
    "read": ("/evenhand/data/",),
    "encode": ("/evenhand/encode/",),
    "train": ("/evenhand/training/", "/evenhand/methods/"),
    "audit": ("/evenhand/audits/",),
    "report": ("/evenhand/report/",),
    "texts": ("/evenhand/texts/",),
    "serve": ("/evenhand/serve/",),
}
SAVE = "save"  # file-system steps under the folder that the verb is run in
TIMES = ("seconds", "pairs_per_second", "texts_per_second", "tokens_per_second", "measured")  # measured: by the last process alone
HEADINGS = ("seconds", "pairs a second", "texts a second", "tokens a second")
WHOLE = (0, 1, 3)  # exit codes of a run that came to its end

# Runs evenhand's entry point, and ends the process by SIGKILL at step `number` of a stage; 0 = writes how many steps each stage has.
RUNNER = """
import atexit, json, os, signal, sys
stage, number, folder, counts, stages = sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], json.loads(sys.argv[5])
steps, of_file = dict.fromkeys([*stages, "save"], 0), {}
own = os.getpid()
def step(name):
    steps[name] += 1
    if name == stage and steps[name] == number:
        os.kill(own, 9)
def called(frame, event, argument):
    if event == "call":
        file = frame.f_code.co_filename
        if file not in of_file:
            of_file[file] = next((name for name, places in stages.items() if any(p in file for p in places)), None)
        if of_file[file]:
            step(of_file[file])
def touched(event, arguments):
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate") and os.path.abspath(str(arguments[0])).startswith(folder):
        step("save")
import evenhand.cli
if stage == "save" or not number: sys.addaudithook(touched)
if stage != "save": sys.setprofile(called)
atexit.register(sys.setprofile, None)
if not number: atexit.register(lambda: os.getpid() == own and json.dump(steps, open(counts, "w")))
sys.argv = ["evenhand", *sys.argv[6:]]
evenhand.cli.main()
"""

# An audit of texts as a user writes one: it reads no model.
CERTAIN = '''
from dataclasses import dataclass
import numpy as np
from evenhand.texts.audit import Measure, Measured

@dataclass(frozen=True)
class Certain:
    """Words of certainty, and the audience that a text names."""

    name: str = "certain"

    def measure(self, table):
        words = [t.lower().split() for t in table.texts]
        certain = np.array([float(sum(w in ("will", "must", "surely") for w in t)) for t in words])
        rows = [table.grid.row(c) for c in table.cell.tolist()]
        named = np.array([float(r["age"] in t) + float(r["gender"] in t) for r, t in zip(rows, table.texts)])
        return Measured((Measure("certainty", certain, "words", objective=True), Measure("audience", named, "names", fidelity=True)))
'''


@dataclass
class Verb:
    """A command that writes under `out`; how long it takes, how many steps its stages have, and what it leaves, undisturbed.

    given: the user's files and folders that it needs, by their names in `place`.
    """

    name: str
    command: list[str]
    given: tuple[str, ...]
    place: Path
    seconds: float = 0.0
    steps: dict[str, int] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)

    def start(self, place: Path, stage: str = "", step: int = 0) -> subprocess.Popen[bytes]:
        """In a session of its own, so that nobody it leaves behind is overlooked."""
        told = [stage, str(step), str(place), str(place.with_suffix(".steps")), json.dumps(STAGES)]
        runner = [sys.executable, "-c", RUNNER, *told] if stage else [sys.executable, "-m", "evenhand.cli"]
        env = {**os.environ, "EVENHAND_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with place.with_suffix(".stderr").open("wb") as said:
            return subprocess.Popen(
                [*runner, *self.command], cwd=place, env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said
            )

    def undisturbed(self) -> None:
        """Two whole runs: one counted, one timed. Raises AssertionError where they differ or do not end well."""
        counted, timed = self.fresh("counted"), self.fresh("timed")
        for place, stage in ((counted, "count"), (timed, "")):
            began = time.monotonic()
            code = self.start(place, stage).wait()
            self.seconds = time.monotonic() - began
            assert code in WHOLE, f"{self.name}: exit {code}: {place.with_suffix('.stderr').read_text()[-2000:]}"
        self.steps = json.loads(counted.with_suffix(".steps").read_text())
        self.whole = left(timed)
        assert not (differing := different(left(counted), self.whole)), f"{self.name}: two undisturbed runs differ in {differing}"

    def fresh(self, name: str) -> Path:
        place = self.place / f"{self.name}-{name}"
        place.mkdir()
        for given in self.given:
            source = self.place / given
            if source.is_dir():
                shutil.copytree(source, place / given)
            else:
                shutil.copy(source, place / given)
        return place

    def kill(self, place: Path, rng: random.Random, chosen: tuple[str, float] | None) -> tuple[str, list[str]]:
        """One kill: what it hit, "" where it came too late, and what it left that must not be.

        chosen: a stage and how far into it, 0 to 1; None = any moment.
        """
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
        wrong = ["a worker outlived its parent"] if outlived(process.pid) else []
        torn = [name for name in different(left(place), self.whole, common=True) if Path(name).name != LIST]
        return told if code == -signal.SIGKILL else "", [*wrong, *(f"{name} is not whole, or was changed" for name in torn)]


def outlived(session: int) -> bool:
    """Whether somebody of it still runs after 20 s; who does is ended."""
    began = time.monotonic()
    while alive(session):
        if time.monotonic() - began > 20:
            os.killpg(session, signal.SIGKILL)
            return True
        time.sleep(0.05)
    return False


def alive(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def left(place: Path) -> dict[str, Any]:
    """Every file but those of the cache and what is temporary by its name, less what may differ. Of lists of files every hash is checked."""
    files = {str(p.relative_to(place)): p for p in sorted(place.rglob("*")) if p.is_file() and not p.is_relative_to(place / "cache")}
    return {name: masked(path) for name, path in files.items() if not temporary(name)}


def temporary(name: str) -> bool:
    """Names that say that what they hold is not finished; compiled code is Python's own."""
    parts = Path(name).parts
    return any(p.endswith((".evenhand-part", ".unfinished")) or p in ("checkpoint", "__pycache__") for p in parts)


def different(found: dict[str, Any], whole: dict[str, Any], *, common: bool = False) -> list[str]:
    """Names of files that differ; common: of those alone that both have."""
    names = found.keys() & whole.keys() if common else found.keys() | whole.keys()
    return sorted(n for n in names if n not in found or n not in whole or found[n] != whole[n])


def masked(path: Path) -> Any:
    """Without the date and the seconds that work took. Of a trial: its arrays and what is said of them."""
    content = path.read_bytes()
    if path.suffix == ".safetensors" and path.parent.name == "trials":
        head = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + head])
        said = without(json.loads(about.pop("__metadata__")["trial"]))
        return said, about, hashlib.sha256(content[8 + head :]).hexdigest()
    if path.name == LIST:
        return sorted(json.loads(content)["files"])
    if path.suffix == ".json" and path.parent.name not in ("model", "llama"):
        return without(json.loads(content))
    if path.suffix == ".csv" and path.parent.name == "out":
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(io.StringIO(content.decode()))]
    if path.suffix not in (".html", ".md"):
        return hashlib.sha256(content).hexdigest()
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "DATE", content.decode())
    text = re.sub(r"took [\d.,]+ s in all", "took SECONDS in all", text)
    return untimed(text) if path.suffix == ".html" else text


def untimed(page: str) -> str:
    """A page without the cells under headings of times."""
    from lxml import html

    tree = html.fromstring(re.sub(r"seconds [\d.,]+", "seconds", page))
    for table in tree.iter("table"):
        for i, heading in enumerate(table.xpath("./thead/tr[last()]/th")):
            if heading.text_content().strip() in HEADINGS:
                for row in table.xpath("./tbody/tr"):
                    if len(row) > i:
                        row[i].clear()
        for row in table.iter("tr"):
            if len(row) and row[0].text_content().strip() in HEADINGS:
                for cell in row[1:]:
                    cell.clear()
    return str(html.tostring(tree))


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without(v) for k, v in value.items() if k not in (*TIMES, "date")}
    return [without(v) for v in value] if isinstance(value, list) else value


def listed_wrongly(place: Path) -> list[str]:
    """Lists of a whole run whose hashes are not those of their files."""
    wrong = []
    for path in place.rglob(LIST):
        for name, entry in json.loads(path.read_bytes())["files"].items():
            if entry["sha256"] != [hashlib.sha256((path.parent / name).read_bytes()).hexdigest()]:
                wrong.append(f"{path.relative_to(place)} has another hash of {name}")
    return wrong


def round_of(verb: Verb, number: int, kills: int, stages: list[str], rng: random.Random) -> tuple[int, list[str]]:
    """So many kills on one folder, and a whole run: how many of them hit, and what was found."""
    here = verb.fresh(f"round-{number}")
    hits, found = [], []
    for turn in range(kills):
        chosen = None if turn == 1 else (stages[(2 * number + turn // 2) % len(stages)], rng.random())
        hit, wrong = verb.kill(here, rng, chosen)
        hits.append(hit or "too late")
        found += [f"after {'; '.join(hits)}: {what}" for what in wrong]
    code = (again := verb.start(here)).wait()
    if outlived(again.pid):
        found.append("a worker outlived its parent")
    if code not in WHOLE:
        found.append(f"after {'; '.join(hits)}: exit {code}: {here.with_suffix('.stderr').read_text()[-300:]}")
    elif names := different(left(here), verb.whole):
        found.append(f"after {'; '.join(hits)}: other files than of a run that was left alone: {', '.join(names)}")
    found += listed_wrongly(here)
    found += [
        f"after {'; '.join(hits)}: {p.relative_to(here)} stays" for p in here.rglob("*") if temporary(p.name) and p.name != "__pycache__"
    ]
    print(f"{verb.name}: killed at {'; '.join(hits)}: {'; '.join(found) or 'the same bytes'}", flush=True)
    shutil.rmtree(here)
    return sum(h != "too late" for h in hits), [f"{verb.name}: {what}" for what in found]


def main(arguments: list[str] | None = None) -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=200)
    asked.add_argument("--encoder", default="none", help="of compare and sweep; the verb encode has MiniLM")
    asked.add_argument("--verbs", default=",".join(COMMANDS))
    asked.add_argument("--users", type=int, default=24)
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args(arguments)
    rng = random.Random(told.seed)
    kills, rounds, findings = 0, 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        verbs = prepared(told.verbs.split(","), place, told.encoder, told.users)
        while kills < told.kills:
            verb = verbs[rounds % len(verbs)]
            if not verb.whole:
                verb.undisturbed()
                print(f"{verb.name}: {verb.seconds:.1f} s undisturbed, steps {verb.steps}", flush=True)
            stages = [s for s in (SAVE, *STAGES) if verb.steps[s]]
            hit, found = round_of(verb, rounds // len(verbs), min(3, told.kills - kills), stages, rng)
            kills, rounds, findings = kills + hit, rounds + 1, findings + found
    return ended("kills", {"kills": kills, "rounds": rounds, "verbs": len(verbs)}, findings, verbs=[v.name for v in verbs])


GROUPED = ["--group-by", "taste"]
OUT = ["--out", "out"]
OF_TEXTS = ["--audit", "./certain.py:Certain"]
COMMANDS: dict[str, tuple[list[str], tuple[str, ...]]] = {  # verb → its command and the user's files that it needs
    "check": (["check", "choices.jsonl", *GROUPED, *OUT], ("choices.jsonl",)),
    "audit": (["audit", "choices.jsonl", "--scores", "score", *GROUPED, *OUT], ("choices.jsonl",)),
    "fit": (["fit", "choices.jsonl", "--method", "pafo", *GROUPED, "--encoder", "none", "--set", "max_epochs=3", *OUT], ("choices.jsonl",)),
    "encode": (["fit", "choices.jsonl", "--method", "bradley_terry", "--encoder", "minilm", "--set", "max_epochs=2", *OUT], ("choices.jsonl",)),
    "compare": (
        ["compare", "choices.jsonl", "--encoder", "ENCODER", "--methods", "lore", "--seeds", "1", "--tune", "0", "--jobs", "2", *OUT],
        ("choices.jsonl",),
    ),
    "sweep": (
        ["sweep", "choices.jsonl", "--encoder", "ENCODER", "--over", "alpha=0.1,0.5", *GROUPED, "--set", "max_epochs=2", "--seeds", "2", "--jobs", "2", *OUT],
        ("choices.jsonl",),
    ),
    "score": (["score", "model", "choices.jsonl", "--history", "choices.jsonl", "--leave-own-out", "--out", "out/scores.jsonl"], ("model", "choices.jsonl")),
    "export": (["export", "model", "--to", "hf-code", *OUT], ("model",)),
    "certify": (["certify", "model", "choices.jsonl", "--gamma", "0.3", "--notion", "eo", *GROUPED, *OUT], ("model", "choices.jsonl")),
    "generate": (
        ["generate", "pumps.toml", "--model", "llama", "--k", "8", "--max-tokens", "24", "--batch", "16", "--device", "cpu", "--out", "out/texts.jsonl"],
        ("pumps.toml", "llama"),
    ),
    "select": (["select", "candidates.jsonl", "--grid", "pumps.toml", *OF_TEXTS, "--similarity", "0", "--unchecked", *OUT], ("candidates.jsonl", "pumps.toml", "certain.py")),
    "align": (
        [
            "align", "pumps.toml", "--originals", "texts.jsonl", "--draws", "2", *OF_TEXTS, "--permutations", "100", "--train", "--dpo", "--student", "llama",
            "--lr", "0.01", "--dpo-lr", "0.01", "--rank", "4", "--device", "cpu", *OUT,
        ],
        ("texts.jsonl", "pumps.toml", "certain.py", "llama"),
    ),
}  # fmt: skip


def prepared(names: list[str], place: Path, encoder: str, users: int) -> list[Verb]:
    """Verbs, and the files that they need in `place`."""
    from evenhand.data.simulate import write_sample

    data = write_sample(place / "choices.jsonl", users=users, minority=0.3, pairs_per_user=24)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps(r | {"score": len(r["rejected"]) - len(r["chosen"])}) + "\n" for r in rows))
    needed = {file for name in names for file in COMMANDS[name][1]}
    made = {"model": partial(fitted, data), "llama": llama, "texts.jsonl": messages, "candidates.jsonl": candidates}
    for file, make in made.items():
        if file in needed:
            make(place / file)
    if "pumps.toml" in needed:
        from test_text_align import GRID

        (place / "pumps.toml").write_text(GRID)
        (place / "certain.py").write_text(CERTAIN)
    commands = {name: [encoder if word == "ENCODER" else word for word in COMMANDS[name][0]] for name in names}
    return [Verb(name, commands[name], COMMANDS[name][1], place) for name in names]


def fitted(data: Path, folder: Path) -> None:
    import evenhand
    from evenhand.encode.minilm import MiniLM

    encoding = evenhand.Encoding(MiniLM(), tfidf=False, dim=16, cache=folder.with_name("prepared"))  # which every form of export can hold
    evenhand.fit(data, "bradley_terry", settings={"max_epochs": 2}, encoding=encoding, certify_share=0.25, deals=1).model.save(folder)


def llama(folder: Path) -> None:
    from tiny_models import tiny_llama

    tiny_llama(folder, chat=True)


def messages(file: Path) -> None:
    from test_text_align import texts

    file.write_text("".join(json.dumps(row) + "\n" for row in texts()))


def candidates(file: Path) -> None:
    """The messages, and of each another one without its words of certainty."""
    from test_text_align import texts

    rows = [row | {"source": "original"} for row in texts()]
    rows += [row | {"source": "softer", "text": row["text"].replace("will", "may")} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
