"""Two hundred planted secrets - texts, ids, tokens, keys - and every verb over them: none is found in what they write, say, keep, log or serve, but in
the files that hold it by what the documentation says of them.

    python nightly/planted.py --secrets 200
    python nightly/planted.py --secrets 40 --parts audit,fit

All that a verb can write lies in one folder: its outputs, home, cache, temporary files, what it said, and what its tracker kept. Every file of it, and
its name, is searched, packed ones unpacked, for the one word that all secrets begin with, as UTF-8, UTF-16, hexadecimal and base64.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from outcome import TESTS, ended

sys.path.insert(0, str(TESTS))

import httpx
import text_server
from test_text_align import GRID, texts

from evenhand.data.simulate import write_sample
from evenhand.workflows.view import guarded

MARK = "zq7secret"  # what every secret begins with, and nothing else holds
TOKENS = ("EVENHAND_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD",
          "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL")  # fmt: skip
PRIVATE = {  # what holds texts or ids of its users, and where that is said
    "examples.html": "docs/report.md, misordered pairs as texts", "users.json": "docs/view.md, private files", "texts.html": "docs/texts.md, --show-text",
    "assigned.csv": "docs/data-formats.md, --assignments", "scores.jsonl": "docs/scoring.md: as private as its input", "best.parquet": "docs/scoring.md",
    "selected.jsonl": "docs/texts.md: the texts that were chosen", "sft.jsonl": "docs/texts.md: rows for TRL", "dpo.jsonl": "docs/texts.md: rows for TRL",
}  # fmt: skip
FOR_OWNER = ("examples.html", "users.json", "texts.html", "assigned.csv")  # that nobody else may read

OWN = f'''
from dataclasses import dataclass
from evenhand.data.source import Source
from evenhand.texts.audit import Measured

def breaks(row):
    raise KeyError(row["user"], row["chosen"], "{MARK}")

@dataclass(frozen=True)
class Breaks:
    """An audit that says what it choked on."""

    name: str = "breaks"

    def measure(self, table):
        raise RuntimeError(f"cannot read {{table.texts[0]}}")
'''
# A defect inside the package, with data in every frame.
DEFECT = "import evenhand.audits.examine as e, evenhand.workflows.audit as a\ndef broken(*given, **more): raise RuntimeError(repr(given) + '{}')\na.{} = broken\nimport evenhand.cli; import sys\nsys.argv = ['evenhand', *sys.argv[1:]]\nevenhand.cli.main()"


class World:
    """The folder, the user's files in it, the environment, and what was found."""

    def __init__(self, root: Path, secrets: int):
        self.root, self.planted, self.number = root, 0, 0
        self.given, self.out = root / "given", root / "out"
        self.said = root / "said"
        for folder in (self.given, self.out, self.said, root / "home", root / "tmp"):
            folder.mkdir()
        self.tokens = {name: self.secret("token" + "x" * 32) for name in TOKENS}
        self.env = {
            **os.environ, **self.tokens, "HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "XDG_CACHE_HOME": str(root / "home" / ".cache"),
            "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200", "EVENHAND_DEBUG": "",
        }  # fmt: skip
        self.env.pop("EVENHAND_CACHE", None)
        self.choices = self._choices(secrets)
        self._others()

    def secret(self, kind: str) -> str:
        self.planted += 1
        return f"{MARK}{self.planted:04d}{kind}"

    def _choices(self, secrets: int) -> Path:
        """The sample with a secret in every id, and in so many texts; cells that nobody asks for hold some, too."""
        path = write_sample(self.given / "choices.jsonl", users=60, minority=0.3, pairs_per_user=24)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        users = {u: f"{self.secret('user')}-{u}" for u in sorted({r["user"] for r in rows})}
        prompts = sorted({r["prompt"] for r in rows})
        some = {p: f"{p} {self.secret('prompt')}" for p in prompts[: max(4, secrets // 8)]}
        for row in rows:
            row["score"] = len(row["rejected"]) - len(row["chosen"])
            row |= {"user": users[row["user"]], "prompt": some.get(row["prompt"], row["prompt"]), "taste": row["taste"]}
        left = max(secrets - self.planted, 30)
        for i in range(left):
            row = rows[(i * 37) % len(rows)]
            column = ("chosen", "rejected", "note")[i % 3]
            row[column] = f"{row.get(column, '')} {self.secret(column)}".strip()
        for row in rows:
            row.setdefault("note", "")
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        bad = [dict(r) for r in rows[:40]]
        for i, row in enumerate(bad[1::2]):
            name = ("user", "chosen", "rejected", "prompt", "score", "weight", "tie", "split")[i % 8]
            row[name] = [{"a": self.secret("bad cell")}] if i % 3 else f"{self.secret('bad cell')} " * 3
        lines = [json.dumps(r) for r in bad] + ['{"user": "' + self.secret("torn line"), self.secret("no json")]
        (self.given / "bad.jsonl").write_text("\n".join([*(json.dumps(r) for r in rows), *lines]) + "\n")
        (self.given / "worse.csv").write_text(
            f"user,prompt,chosen\n{self.secret('a')},{self.secret('b')},{self.secret('c')},{self.secret('d')}\n"
        )
        return path

    def _others(self) -> None:
        (self.given / "pumps.toml").write_text(GRID)
        (self.given / "own.py").write_text(OWN)
        written = [row | {"text": f"{row['text']} {self.secret('message')}"} for row in texts()]
        (self.given / "texts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in written))
        rows = [
            r | {"source": s, "text": r["text"].replace("will", w)} for s, w in (("original", "will"), ("softer", "may")) for r in written
        ]
        (self.given / "candidates.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        of = [
            {"prompt": self.secret("prompt"), "group": g, "reward": i % 5, "event": i % 2, "ref": -1.0}
            for i in range(20)
            for g in "ab"
            for _ in range(3)
        ]
        (self.given / "policies.jsonl").write_text("".join(json.dumps(r) + "\n" for r in of))

    def run(
        self, *words: object, code: tuple[int, ...] = (0, 1, 3), program: tuple[str, ...] = ("-m", "evenhand"), kill: float = 0, **env: str
    ) -> str:
        """A verb in a process of its own, in the folder of outputs; what it said is kept where it is searched. kill: after so many seconds."""
        self.number += 1
        with (self.said / f"{self.number:02d}-{words[0]}.txt").open("w+") as said:
            process = subprocess.Popen(
                [sys.executable, *program, *map(str, words)],
                cwd=self.out,
                env=self.env | env,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if kill:
                time.sleep(kill)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            ended_by = process.wait(900)
            said.seek(0)
            told = said.read()
        if not kill and ended_by not in code:
            raise RuntimeError(f"{' '.join(map(str, words))}: exit {ended_by}: {told[-1500:]}")
        return told

    def keep(self, name: str, content: str) -> None:
        """What was read from a server, where it is searched."""
        (self.said / name).write_text(content, encoding="utf-8", errors="surrogateescape")


def audit(w: World) -> None:
    asked = ["--group-by", "taste", "--scores", "score"]
    w.run("check", w.choices, "--group-by", "taste", "--out", "checked")
    w.run("audit", w.choices, *asked, "--show-examples", 10, "--assignments", "assigned.csv", "--out", "runs/before")
    w.run("audit", w.given / "bad.jsonl", *asked, "--on-bad", "skip", "--bad-rows", "bad-rows.csv", "--out", "runs/after")
    w.run("audit", w.given / "bad.jsonl", *asked, "--out", "never", code=(2,))
    w.run("audit", w.given / "worse.csv", *asked, "--out", "never", code=(2,))
    w.run("audit", w.choices, "--group-by", "note", "--scores", "score", "--out", "by-note", code=(0, 1, 2, 3))
    w.run("audit", w.choices, "--group-by", "user", "--scores", "score", "--out", "by-user", code=(2,))
    for column in ("chosen", "user", "prompt"):
        w.run("audit", w.choices, "--scores", column, "--out", "never", code=(2,))
    w.run("diff", "runs/before", "runs/after", "--out", "runs/diff")


def crash(w: World) -> None:
    """Parts of a user's own, and defects of the package, with data at hand."""
    asked = ["--group-by", "taste", "--scores", "score", "--out", "never"]
    w.run("audit", w.choices, "--source", f"{w.given}/own.py:breaks", *asked, code=(2,))
    w.run(
        "audit-text",
        w.given / "texts.jsonl",
        "--grid",
        w.given / "pumps.toml",
        "--audit",
        f"{w.given}/own.py:Breaks",
        "--out",
        "never",
        code=(2,),
    )
    for name in ("canonical", "read", "grouping_of"):
        w.run("audit", w.choices, *asked, program=("-c", DEFECT.format(MARK, name)), code=(70,))


def fit(w: World) -> None:
    quick = ["--group-by", "taste", "--set", "max_epochs=2", "--deals", 1]
    w.run(
        "fit",
        w.choices,
        "--method",
        "pafo",
        "--encoder",
        "none",
        *quick,
        "--certify-share",
        0.2,
        "--show-examples",
        5,
        "--assignments",
        "fit-assigned.csv",
        "--out",
        "fit",
    )
    w.run("fit", w.choices, "--method", "bradley_terry", "--encoder", "minilm", "--with-prompt", *quick, "--out", "fit-minilm")
    w.run("certify", "fit/model", w.choices, "--gamma", 0.3, "--notion", "eo", "--group-by", "taste", "--out", "certified")
    w.run("verify", "certified/certificate.json", "fit/model", w.choices)
    w.run("score", "fit/model", w.choices, "--history", w.choices, "--leave-own-out", "--out", "scores.jsonl")
    w.run("score", "fit-minilm/model", w.choices, "--history", w.choices, "--leave-own-out", "--out", "best.parquet")
    user = json.loads(w.choices.read_text().splitlines()[0])["user"]
    w.run("export", "fit/model", "--to", "hf-code", "--user", "all", "--history", w.choices, "--out", "exported", code=(0, 2))
    w.run("export", "fit-minilm/model", "--to", "hf", "--user", user, "--history", w.choices, "--out", "exported-one", code=(0, 2))
    w.run("export", "fit-minilm/model", "--to", "hf-code", "--user", "all", "--history", w.choices, "--out", "exported-all", code=(0, 2))
    w.run("export", "fit-minilm/model", "--to", "peft", "--user", "all", "--history", w.choices, "--out", "exported-peft", code=(0, 2))
    w.run("export", "fit-minilm/model", "--to", "hf", "--user", f"{MARK} nobody", "--history", w.choices, "--out", "never", code=(2,))


def trackers(w: World) -> None:
    quick = ["--group-by", "taste", "--encoder", "none", "--set", "max_epochs=2", "--deals", 1, "--method", "bradley_terry"]
    for tracker, needs in (("mlflow", "mlflow"), ("tensorboard", "tensorboard"), ("wandb", "wandb")):
        if find_spec(needs):
            w.run("fit", w.choices, *quick, "--track", f"{tracker}:tracked", "--out", f"fit-{tracker}")


def trials(w: World) -> None:
    quick = ["--group-by", "taste", "--encoder", "none", "--seeds", 1, "--jobs", 2]
    w.run("compare", w.choices, "--methods", "lore", "--tune", 0, *quick, "--out", "compared", kill=8)
    w.run("compare", w.choices, "--methods", "lore", "--tune", 0, *quick, "--assignments", "compare-assigned.csv", "--out", "compared")
    w.run("sweep", w.choices, "--over", "alpha=0.1,0.5", "--set", "max_epochs=2", *quick, "--out", "swept")


def policies(w: World) -> None:
    w.run("transfer", w.given / "policies.jsonl", "--betas", "1", "--ns", "1,4", "--out", "policies", code=(0, 1, 2, 3))


def messages(w: World) -> None:
    """Audits and selection of texts; texts from an endpoint that repeats what it was sent in its errors."""
    grid = ["--grid", w.given / "pumps.toml"]
    w.run(
        "audit-text",
        w.given / "texts.jsonl",
        *grid,
        "--audit",
        "lexical",
        "--audit",
        "persuasion",
        "--permutations",
        100,
        "--show-text",
        5,
        "--out",
        "texts-audited",
    )
    w.run(
        "select",
        w.given / "candidates.jsonl",
        *grid,
        "--audit",
        "persuasion",
        "--audit",
        "fidelity",
        "--similarity",
        0,
        "--unchecked",
        "--out",
        "selected",
    )
    token = w.tokens["EVENHAND_TOKEN"]
    loud = json.dumps({"error": f"bad key {token}", "echo": w.tokens["OPENAI_API_KEY"]}).encode()
    answers: dict[str, Callable[[int, Any], Any]] = {
        "good": lambda n, b: (400, {"X-Was": token}, loud) if n == 0 else text_server.said(f"On {n} we write to you."),
        "bad": lambda n, b: (401, {"Location": f"http://{token}/", "WWW-Authenticate": token}, loud),
        "odd": lambda n, b: (200, {"Content-Type": token}, loud),
    }
    for name, reply in answers.items():
        with text_server.server(reply) as there:
            w.run(
                "generate", w.given / "pumps.toml", "--endpoint", there.url, "--model", "m", "--k", 1, "--out", f"{name}.jsonl", code=(0, 2)
            )
    for url in (f"http://user:{MARK}@127.0.0.1:9", f"http://127.0.0.1:9/v1?key={MARK}", f"ftp://{MARK}@h", f"http://127.0.0.1:9#{MARK}"):
        w.run("generate", w.given / "pumps.toml", "--endpoint", url, "--model", "m", "--out", "never.jsonl", code=(2,))


def servers(w: World) -> None:
    """`serve` and its log, `view` without --show-text."""
    if not (w.out / "fit" / "model").exists():
        fit(w)
    if not (w.out / "runs").exists():
        audit(w)
    user = json.loads(w.choices.read_text().splitlines()[0])["user"]
    text, token = w.secret("text that is scored"), w.tokens["EVENHAND_TOKEN"]
    log = w.said / "serve.log"
    command = [sys.executable, "-m", "evenhand", "serve", str(w.out / "fit/model"), "--history", str(w.choices), "--port", "0"]
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=w.env, stdout=stream, stderr=subprocess.STDOUT)
    try:
        while not (found := re.search(r"on (http://\S+)\n", log.read_text())):
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        replies = []
        with httpx.Client(base_url=found[1], headers={"authorization": f"Bearer {token}"}) as client:
            for path, body in (
                ("/v1/score", {"responses": [text, text], "user": user, "prompts": [text, text]}), ("/v1/score", {"responses": [text], "user": text}),
                ("/classify", {"input": [text], "user": user}), ("/classify", {"input": text, "user": text, text: 1}), ("/classify", [text]),
                ("/get_reward", {"query": [text], "prompts": [""], "labels": [user]}), ("/get_reward", {"query": [text], "prompts": [text + "x"], "labels": [[text]]}),
                (f"/{text}", {}), ("/v1/score", {"messages": [[{"role": text, "content": text}]]}),
                ("/v1/score", {"responses": ["a"], "history": [{"prompt": text, "chosen": text, "rejected": text, text: text}]}),
            ):  # fmt: skip
                replies.append(client.post(path, json=body))
            replies += [
                client.post("/v1/score", content=f'{{"responses": ["{text}'),
                client.get("/metrics"),
                client.get("/"),
                client.get("/openapi.json"),
            ]
            replies.append(client.get("/metrics", headers={"authorization": f"Bearer {text}"}))
            replies.append(client.get("/metrics", headers={"host": f"{text}.example"}))
        w.keep("serve-replies.txt", "\n".join(f"{r.status_code} {dict(r.headers)} {r.text}" for r in replies))
    finally:
        process.terminate()
        process.wait(60)

    import asyncio

    async def pages() -> list[str]:
        app = guarded(w.out, host="127.0.0.1", token=None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            seen, todo = {}, ["/"]
            while todo and len(seen) < 400:
                at = todo.pop()
                reply = await client.get(at)
                seen[at] = f"{at} {reply.status_code} {dict(reply.headers)} {reply.text}"
                links = [link.replace("&amp;", "&") for link in re.findall(r'(?:href|src)="(/[^"]*)"', reply.text)]
                todo += [link for link in links if link not in seen and link not in todo and not link.startswith("/?")]
            return list(seen.values())

    w.keep("view-pages.txt", "\n".join(asyncio.run(pages())))


def many_machines(w: World) -> None:
    """Ray's logs, object store and folders: once an engine is there, with everything of Ray's under this folder."""
    if not (find_spec("evenhand.engines") and find_spec("ray")):
        print("engines: this evenhand has none, or Ray is not installed; not looked at", flush=True)
        return
    ray = {"RAY_TMPDIR": str(w.root / "tmp"), "RAY_USAGE_STATS_ENABLED": "0"}
    w.run(
        "audit", w.choices, "--group-by", "taste", "--scores", "score", "--engine", "ray", "--out", "ray-audit", code=(2,), **ray
    )  # refused: one file
    w.run(
        "compare",
        w.choices,
        "--methods",
        "lore",
        "--tune",
        0,
        "--encoder",
        "none",
        "--seeds",
        1,
        "--engine",
        "ray",
        "--out",
        "ray-compared",
        **ray,
    )


PARTS: dict[str, Callable[[World], None]] = {
    "audit": audit, "crash": crash, "fit": fit, "trackers": trackers, "trials": trials, "policies": policies, "messages": messages, "servers": servers,
    "ray": many_machines,
}  # fmt: skip


def ways(word: str) -> list[bytes]:
    """A word as it may stand in a file, in lower case."""
    raw = word.encode()
    coded = [raw, word.encode("utf-16-le"), raw.hex().encode(), raw[::-1]]
    for lead in range(3):  # where a word begins inside base64 decides its signs but the first and the last
        signs = base64.b64encode(b"\0" * lead + raw).decode()
        coded.append(signs[(0, 2, 3)[lead] : -4].lower().encode())
    return coded


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they hold packed."""
    raw = path.read_bytes()
    yield raw
    with contextlib.suppress(OSError, EOFError, zlib.error):
        if raw[:2] == b"\x1f\x8b":
            yield gzip.decompress(raw)
    if raw[:4] == b"PK\x03\x04":
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if raw[:4] == b"PAR1":
        import pyarrow.parquet as pq

        yield str(pq.read_table(path).to_pylist()).encode()
    for piece in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL) if raw[:4] == b"%PDF" else ():
        with contextlib.suppress(zlib.error):
            yield zlib.decompress(piece)


def searched(w: World) -> tuple[int, list[str], list[str]]:
    """How many files there are, what was found, and which private files held secrets, as they are said to."""
    files, found, private = 0, [], []
    marks = ways(MARK)
    for path in sorted(w.root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.is_relative_to(w.given):
            continue
        files += 1
        name = str(path.relative_to(w.root))
        if MARK in name.lower():
            found.append(f"{name.replace(MARK, '<secret>')}: the name holds a secret")
        hits = {
            text[max(0, at - 60) : at + 40]
            for text in (c.lower() for c in contents(path))
            for mark in marks
            if (at := text.find(mark)) >= 0
        }
        of_owner = path.name.endswith(FOR_OWNER)
        if of_owner and stat.S_IMODE(path.stat().st_mode) & 0o077:
            found.append(f"{name}: others than its owner may read it")
        words = (
            path.parts[-3] == "found-1" and not stat.S_IMODE(path.parent.stat().st_mode) & 0o077
        )  # docs/texts.md: nouns, for their owner
        if hits and (words or any(path.name.endswith(p) for p in PRIVATE)):
            private.append(name)
        elif hits:
            found.append(f"{name}: {sorted(hits)[0]!a}")
    return files, found, private


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--secrets", type=int, default=200)
    asked.add_argument("--parts", default=",".join(PARTS))
    told = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), told.secrets)
        stopped = []
        for name in told.parts.split(","):
            try:
                PARTS[name](world)
            except Exception as error:  # the other parts are looked at all the same
                stopped.append(f"{name} stopped: {str(error)[:1500]}")
            print(f"{name}: done", flush=True)
        files, found, private = searched(world)
    counts = {"secrets": world.planted, "commands": world.number, "files searched": files, "private files": len(private)}
    return ended("secrets", counts, [*stopped, *found], private=private)


if __name__ == "__main__":
    sys.exit(main())
