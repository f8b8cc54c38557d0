"""Five hundred texts that try to become something else, in every place for a text and through every output: pages of all kinds of report, of the view
and of the server in a real Chromium; Markdown, model cards, JSON, JUnit, CSV and replies by the parsers that read them; the terminal sign by sign.

    python nightly/hostile.py --payloads 500
    python nightly/hostile.py --payloads 60 --outputs audit,view

A page must have the elements and addresses that it has with harmless words, ask for nothing, say nothing and open no dialog; a document must give each
text back. The first texts are the suite's (tests/payloads.py), the others are drawn from these: put together, in capitals, taken apart.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import random
import re
import socket
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from outcome import TESTS, ended

sys.path.insert(0, str(TESTS))

import chromium
import comparison_example
import httpx
import pandas
import served
import test_report_hostile_names as kinds
import test_view
import uvicorn
import yaml
from lxml import etree
from markdown_it import MarkdownIt
from pages import Skeleton
from payloads import PAYLOADS
from test_cli import inside
from test_report_comparison import report_of as of_comparison
from test_report_security import infected

from evenhand.report.audit import report as of_audit
from evenhand.report.card import Card, card
from evenhand.report.publish import one_line
from evenhand.report.verdicts import PLAIN as NO_SHARES
from evenhand.workflows.view import guarded

AT_ONCE = {"audit": 28, "comparison": 20, "kinds": 6, "card": 12, "view": 14, "serve": 50, "files": 20}
OUTPUTS = tuple(AT_ONCE)

# Every element as the browser made it, with the names of its attributes and the addresses that it leads to; without what follows a text's length.
ELEMENTS = """[...document.querySelectorAll('*')].filter(e => !['span', 'title', 'details', 'summary', 'text', 'g'].includes(e.tagName.toLowerCase())).map(e =>
    e.tagName + ' ' + [...e.attributes].map(a => a.name).filter(n => !['class', 'style', 'aria-label', 'd', 'x', 'y', 'width', 'transform'].includes(n)).sort() + ' '
    + ['href', 'src', 'action', 'data', 'srcdoc'].map(n => e.getAttribute(n) || '').join(' ')).join('\\n')"""


def more(count: int, seed: int) -> list[str]:
    """So many distinct texts, the suite's first."""
    draw, found = random.Random(seed), dict.fromkeys(PAYLOADS)
    ways: list[Callable[[str, str], str]] = [
        lambda a, b: a + b, lambda a, b: a.swapcase(), lambda a, b: quote(a, errors="replace"), lambda a, b: f'"{a}" {b}', lambda a, b: f"{a}\n{b}",
        lambda a, b: "".join(f"&#{ord(c)};" for c in a), lambda a, b: a.replace("<", "<\0"), lambda a, b: f"| {a} | {b} |", lambda a, b: f"]({a}) [{b}",
        lambda a, b: a.replace(" ", "/**/"), lambda a, b: f"</title></style></script></textarea>{a}", lambda a, b: f"`{a}``{b}", lambda a, b: f"--\n{a}: {b}\n---",
    ]  # fmt: skip
    while len(found) < count:
        found.setdefault(draw.choice(ways)(draw.choice(PAYLOADS), draw.choice(PAYLOADS))[:700])
    return list(found)[:count]


@dataclass
class Judge:
    """Looks at outputs, and keeps what is wrong with them."""

    folder: Path
    findings: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)  # kind of page → its elements with harmless words

    @cached_property
    def browser(self) -> chromium.Browser:
        return chromium.Browser()

    def wrong(self, output: str, what: str, texts: list[str]) -> None:
        self.findings.append(f"{output}: {what} (one of {ascii(texts)[:600]})")

    def count(self, output: str) -> None:
        self.seen[output] = self.seen.get(output, 0) + 1

    def page(self, kind: str, at: Path | str, texts: list[str], *, plain: bool = False, own: str = "") -> None:
        """A page in the browser. plain: its words are harmless, so that others are held against it. own: what it may ask for, by its beginning."""
        self.count("pages in Chromium")
        try:
            self.browser.open(at, 1100, dark=False)
            elements = self.browser.evaluate(ELEMENTS)
        except (TimeoutError, RuntimeError) as error:
            self.wrong(kind, f"the browser stops: {error}", texts)
            self.browser.process.kill()
            del self.browser
            return
        loud = [c for c in self.browser.complaints() if not (own and _address(c).startswith(own))]
        if loud:
            self.wrong(kind, f"the page is loud: {str(loud[0])[:400]}", texts)
        if plain:
            self.plain[kind] = elements
        elif kind in self.plain and elements != self.plain[kind]:
            new = [e for e in elements.splitlines() if e not in self.plain[kind].splitlines()]
            self.wrong(kind, f"other elements than with harmless words: {new[:3] or 'fewer, or in another order'}", texts)

    def html(self, kind: str, page: str, texts: list[str], *, plain: bool = False) -> None:
        path = self.folder / "page.html"
        path.write_text(page, encoding="utf-8")
        self.page(kind, path, texts, plain=plain)

    def markdown(self, kind: str, text: str, texts: list[str], *, plain: bool = False) -> None:
        """As CommonMark with tables reads it: the same elements as with harmless words, no HTML, no address."""
        self.count("Markdown read")
        found = Skeleton(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
        elements = "\n".join(tag for tag, _ in found.tags)
        kind = f"{kind} (Markdown)"
        if found.addresses or found.others:
            self.wrong(kind, f"leads to {found.addresses or found.others}", texts)
        if plain:
            self.plain[kind] = elements
        elif kind in self.plain and elements != self.plain[kind]:
            self.wrong(kind, "other elements than with harmless words", texts)

    def tables(self, kind: str, tables: dict[str, str], texts: list[str]) -> None:
        """Rows of one length for two readers of CSV, and nothing that a spreadsheet would compute."""
        for name, text in tables.items():
            self.count("CSV read")
            rows = list(csv.reader(io.StringIO(text)))
            frame = pandas.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
            if len({len(row) for row in rows}) != 1 or frame.shape != (len(rows) - 1, len(rows[0])):
                self.wrong(f"{kind} {name}", "rows of several lengths", texts)
            for cell in (cell for row in rows for cell in row):
                if re.match(r"[\s\"]*[=@＝＋－＠\t\r]", cell) or (re.match("[+-]", cell) and not re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)):
                    self.wrong(f"{kind} {name}", f"a formula: {ascii(cell)[:80]}", texts)

    def terminal(self, kind: str, said: str, texts: list[str]) -> None:
        self.count("terminal outputs")
        odd = {c for c in said if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t\u200c\u200d"}
        if odd:
            self.wrong(f"{kind} (terminal)", f"signs that a terminal obeys or hides: {odd!a}", texts)


def _address(event: dict[str, Any]) -> str:
    """Of what was asked for, or of what the network said of it, as of an error page."""
    said = event.get("params", {})
    entry = said.get("entry", {})
    return str(said.get("request", {}).get("url", "") or (entry.get("url", "") if entry.get("source") == "network" else ""))


def printed(report: Any) -> str:
    from rich.console import Console

    from evenhand.report.terminal import lines

    console = Console(file=io.StringIO(), width=300, force_terminal=False, soft_wrap=True, markup=False, highlight=False, emoji=False)
    for line in lines(report.page):
        console.print(line)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def looked_at(judge: Judge, kind: str, report: Any, texts: list[str], plain: bool) -> None:
    """Every output of one report."""
    judge.html(kind, report.html(), texts, plain=plain)
    judge.markdown(kind, report.markdown(), texts, plain=plain)
    judge.tables(kind, report.tables(), texts)
    judge.terminal(kind, printed(report), texts)
    judge.count("JSON read")
    json.loads(report.json())
    if report.kind.judges:
        judge.count("JUnit read")
        suite = etree.fromstring(report.junit().encode(), etree.XMLParser(resolve_entities=False, no_network=True))
        odd = {e.tag for e in suite.iter()} - {"testsuites", "testsuite", "testcase", "failure", "error", "system-out"}
        if odd:
            judge.wrong(f"{kind} (JUnit)", f"elements {odd}", texts)


def audit(judge: Judge, texts: list[str], plain: bool) -> None:
    report = of_audit(infected(texts))
    looked_at(judge, "audit", report, texts, plain)
    back = [g["group"] for g in json.loads(report.json())["model"]["groups"]]
    if back != [one_line(t) for t in texts]:
        judge.wrong("audit (JSON)", "names do not come back", texts)
    shown = judge.browser.evaluate("document.body.textContent")
    for text in texts:
        if one_line(text) not in shown:
            judge.wrong("audit", "a name is not shown as it is", [text])


def comparison(judge: Judge, texts: list[str], plain: bool) -> None:
    looked_at(judge, "comparison", of_comparison(comparison_example.named([one_line(t) for t in texts])), texts, plain)


def every_kind(judge: Judge, texts: list[str], plain: bool) -> None:
    """Policies, checks, certificates, differences, texts, and both private pages."""
    for made in (kinds.of_policies, kinds.of_check, kinds.of_certificate, kinds.of_diff, kinds.of_texts):
        looked_at(judge, made.__name__.removeprefix("of_"), made(texts), texts, plain)
    for private in (kinds.of_examples, kinds.of_private_texts):
        [page] = private(texts)
        judge.html(private.__name__.removeprefix("of_"), page, texts, plain=plain)


def model_card(judge: Judge, texts: list[str], plain: bool) -> None:
    """Its metadata by a reader of YAML, the rest as Markdown; once with texts in the report that it tells of, once with texts of its own."""
    found = json.loads(of_audit(infected([*texts, *(f"other {i:02d}" for i in range(28))][:28])).json())
    for i, text in enumerate(texts):
        told = {f"fact {j}": t for j, t in enumerate(texts)}
        made = card(Card(text, [text], [("python", "import evenhand")], told, texts, "evenhand", found, measured=True))
        judge.count("model cards")
        _, head, body = made.split("---\n", 2)
        said = yaml.safe_load(head)
        if set(said) != {"library_name", "pipeline_tag", "tags", "model-index"} or len(said["model-index"]) != 1:
            judge.wrong("card", f"metadata {list(said)}", [text])
        judge.markdown("card", body, [text], plain=plain and i == 0)


def view(judge: Judge, texts: list[str], plain: bool) -> None:
    """Runs whose titles, names, groups, facts and texts are such, in the pages of `view`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i, text in enumerate(texts):
            document = test_view.audit(0.001 * i, title=text) | {"facts": {text: text, "data": text}}
            for group in document["model"]["groups"][:1]:
                group["group"] = text
            place = test_view.put(root / f"run-{i:02d}", document)
            people = json.loads(json.dumps(test_view.PEOPLE))
            people["groups"][0]["group"] = people["model"] = text
            people["groups"][0]["users"][0]["pairs"][0] |= {"prompt": text, "chosen": text, "rejected": text}
            test_view.put(place, people, "users.json")
            (place / "report.html").write_text("<title>report</title><p>as it was written")
            with_name = re.sub("[/\0]", "_", text).encode("utf-8", "replace")[:100].decode("utf-8", "ignore").strip(". ")
            if with_name:
                test_view.put(root / "names" / with_name, test_view.audit(title="named"))
        listening = socket.create_server(("127.0.0.1", 0))
        running = uvicorn.Server(
            uvicorn.Config(guarded(root, host="127.0.0.1", token=None, show_text=True), log_level="critical", lifespan="off", ws="none")
        )
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            judge.page("view, the table", f"{address}/?search={quote('names/', safe='')}", texts, own=address)
            table = httpx.get(f"{address}/?search=run-&sort=name").text
            runs = list(dict.fromkeys(re.findall(r'href="(/run/[0-9a-f]{16})"', table)))
            judge.page("view, runs", f"{address}/?search=run-&sort=name", texts, own=address)
            for run, text in zip(runs, texts):
                judge.page("view, a run", address + run, [text], own=address)
                group = quote(text, errors="replace", safe="")
                judge.page("view, a group", f"{address}{run}/group?group={group}", [text], own=address)
                judge.page("view, a user", f"{address}{run}/user?group={group}&user=00ff00ff00ff", [text], own=address)
                judge.page("view, an error", f"{address}/run/{group}", [text], own=address)
            first, second = (run.removeprefix("/run/") for run in runs[:2])
            judge.page("view, two runs", f"{address}/compare?run={first}&run={second}", texts, own=address)
            judge.page("view, a search", f"{address}/?search={quote(texts[0], errors='replace', safe='')}", texts, own=address)
        finally:
            running.should_exit = True
            thread.join(20)


def serve(judge: Judge, texts: list[str], plain: bool) -> None:
    """Texts as everything that a request holds. A reply is JSON, is told to be, and repeats no text."""
    lines: list[str] = []

    async def ask(name: str, requests: list[tuple[str, str, Any]]) -> list[httpx.Response]:
        application = served.served(MODEL, lines.append)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://127.0.0.1") as client:
            sent = [(method, path, None if body is None else json.dumps(body)) for method, path, body in requests]
            return [
                await client.request(method, path, content=body, headers={"content-type": "application/json"})
                for method, path, body in sent
            ]

    requests: list[tuple[str, str, Any]] = []
    for text in texts:
        safe = text.encode("utf-8", "replace").decode()
        requests += [
            ("POST", "/v1/score", {"responses": [text], "prompts": [text], "history": [{"prompt": text, "chosen": text, "rejected": "b"}]}),
            ("POST", "/v1/score", {"responses": ["a"], "user": text}), ("POST", "/v1/score", {"responses": ["a"], text: text}),
            ("POST", "/classify", {"input": [text], "model": text}), ("POST", "/classify", {"input": "a", "use_activation": text}),
            ("POST", "/get_reward", {"query": [text + "x"], "prompts": [text], "labels": [text]}), ("GET", "/" + quote(safe, safe=""), None),
        ]  # fmt: skip
    for (method, path, _), reply in zip(requests, asyncio.run(ask("tiny", requests))):
        judge.count("replies of the server")
        if method == "GET" and reply.status_code == 200:  # a path that leads to the first page, which is looked at below
            continue
        if "json" not in reply.headers["content-type"]:
            judge.wrong("serve", f"{method} {path}: a reply of type {reply.headers['content-type']}", texts)
        said = json.dumps(reply.json())
        if reply.status_code >= 500:
            judge.wrong("serve", f"{method} {path}: {reply.status_code}", texts)
        for text in texts:
            if len(text) > 8 and (text in said or json.dumps(text)[1:-1] in said):
                judge.wrong("serve", f"{method} {path} repeats a text", [text])
    for line in lines:
        judge.terminal("serve's log", line, texts)
    judge.html("the server's first page", _first_page(texts[0]), texts)


def _first_page(name: str) -> str:
    """As it is with a model of that name."""
    from evenhand.serve.web.application import application

    app = application(MODEL, name, {}, host="127.0.0.1", token=None, names=["testserver"], log=lambda line: None)

    async def get() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return (await client.get("/")).text

    return asyncio.run(get())


def files(judge: Judge, texts: list[str], plain: bool) -> None:
    """A file whose ids, groups, prompts and answers are such, through the verbs: what they print and what they write."""
    groups = [t for t in dict.fromkeys(texts) if t.strip() and not any(0xD800 <= ord(c) < 0xE000 for c in t)][:10]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = []
        for i, group in enumerate(groups):
            for user in range(12):
                for p in range(4):
                    some = texts[(i + user + p) % len(texts)].encode("utf-8", "replace").decode()
                    sides = {"chosen": f"a{p} {some}", "rejected": f"b{p} {some}"}
                    rows.append(
                        {
                            "user": f"{user} {group}",
                            "prompt": f"{p} {some}",
                            **sides,
                            "group": group,
                            "score": (user + p) % 3 - 0.5,
                            some[:60] or "x": 1,
                        }
                    )
        (place / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        title = groups[0].replace("\0", " ")
        asked = ["--group-by", "group", "--title", title, "--note", title]
        for verb, options in (
            (
                "audit",
                [
                    "--scores",
                    "score",
                    "--show-examples",
                    "20",
                    "--assignments",
                    "assigned.csv",
                    "--require",
                    f"accuracy({title})>=0.9",
                    *asked,
                ],
            ),
            ("check", ["--group-by", "group"]),
            ("audit", ["--scores", title, *asked]),
            ("fit", ["--method", title]),
        ):
            done = inside(verb, "choices.jsonl", *options, "--out", verb, cwd=place)
            judge.count("verbs run")
            if done.returncode not in (0, 1, 2, 3):
                judge.wrong(f"the verb {verb}", f"exit code {done.returncode}: {done.stderr[-300:]}", texts)
            judge.terminal(f"the verb {verb}", done.stdout + done.stderr, texts)
        for page in sorted(place.rglob("*.html")):
            judge.page("the pages of verbs", page, texts)
        for table in sorted(place.glob("*/*.csv")):
            judge.tables("the verbs'", {table.name: table.read_text()}, texts)


MODEL = served.small()
LOOKS: dict[str, Callable[[Judge, list[str], bool], None]] = {
    "audit": audit, "comparison": comparison, "kinds": every_kind, "card": model_card, "view": view, "serve": serve, "files": files,
}  # fmt: skip


def fit_for(output: str, texts: list[str]) -> list[str]:
    """Those that have a place there: an empty name has none, and "alpha" another."""
    if output in ("audit", "comparison", "kinds", "card"):
        texts = [t for t in texts if one_line(t).strip()]
        texts = list({one_line(t): t for t in texts}.values())
    if output == "kinds":
        texts = [t for t in texts if t.strip() and not any(word in t.lower() for word in NO_SHARES)]
    return texts


def dealt(texts: list[str], size: int) -> Iterator[list[str]]:
    texts = texts + texts[: -len(texts) % size]
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--payloads", type=int, default=500)
    asked.add_argument("--outputs", default=",".join(OUTPUTS))
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args()
    if chromium.PROGRAM is None:
        return ended("payloads", {"payloads": 0}, ["Chromium is not installed, so that no page can be judged"])
    texts = more(told.payloads, told.seed)
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        for output in told.outputs.split(","):
            size = AT_ONCE[output]
            LOOKS[output](judge, [f"word {i:02d}" for i in range(size)], True)
            for batch in dealt(fit_for(output, texts), size):
                LOOKS[output](judge, batch, False)
            print(f"{output}: {len(judge.findings)} found so far; {judge.seen}", flush=True)
        judge.browser.close()
    return ended("payloads", {"payloads": len(texts), **judge.seen}, judge.findings, seed=told.seed)


if __name__ == "__main__":
    sys.exit(main())
