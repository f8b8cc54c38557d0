"""The page over many runs: what it finds, what it says, what it never serves, and how it behaves in a real browser."""

from __future__ import annotations

import asyncio
import copy
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import chromium
import httpx
import pytest
import report_example as example
import uvicorn
from pages import Skeleton
from payloads import PAYLOADS

from evenhand.core import EvenhandError
from evenhand.report.audit import report as made
from evenhand.report.publish import one_line
from evenhand.viewer import frontier, listing, runs, tables
from evenhand.viewer.gist import gist
from evenhand.workflows.view import guarded, view

SECRET = "do not show this"
HOSTILE = [
    t
    for t in PAYLOADS
    if "/" not in t
    and "\0" not in t
    and t.strip()
    and not t.startswith(".")
    and len(t.encode("utf-8", "surrogatepass")) < 200
    and t.isascii()
][::6]


def estimate(value: float | None, low: float, high: float, users: int = 400, **more: Any) -> dict[str, Any]:
    return {
        "value": value,
        "low": low,
        "high": high,
        "n_users": users,
        "n_pairs": 10 * users,
        "metric": "accuracy",
        "group": "",
        "level": 0.95,
        **more,
    }


def audit(
    gap: float = 0.062, verdict: str = "FAIL", title: str = "An audit", date: str = "2026-11-20 10:00 UTC", **more: Any
) -> dict[str, Any]:
    groups = [
        {"group": name, "accuracy": estimate(v, v - 0.01, v + 0.01, n), "log_loss": estimate(0.6, 0.5, 0.7, n), "excluded": ""}
        for name, v, n in (("minority", 0.7 - gap, 48), ("majority", 0.7, 352), ("tiny", 0.1, 9))
    ]
    requirement = {
        "name": "accuracy gap",
        "estimate": estimate(gap, gap - 0.03, gap + 0.03, metric="gap"),
        "tolerance": 0.05,
        "verdict": verdict,
        "reason": "",
    }
    return {
        "format": "evenhand report 1", "verdict": verdict, "title": title, "simulated": False, "requirements": [requirement],
        "model": {"model": "m", "overall": estimate(0.69, 0.68, 0.7), "gap": estimate(gap, gap - 0.03, gap + 0.03, metric="gap"), "groups": groups},
        "facts": {"data sha256": "d" * 64, "date": date, "seed": "0"}, **more,
    }  # fmt: skip


def comparison() -> dict[str, Any]:
    """Three entries over two groups; on test pairs "mine" is 80 % and 60 %."""
    at = {"base": (0.7, 0.5), "mine": (0.8, 0.6), "worse": (0.6, 0.4)}
    entries = [
        {"name": name, "selection": [estimate(v, v - 0.01, v + 0.01) for v in (x, y, (x + y) / 2)],
         "held_out": [estimate(v, v - 0.02, v + 0.02) for v in (x, y, (x + y) / 2)], "violations": []}
        for name, (x, y) in at.items()
    ]  # fmt: skip
    front = {"reference": "base", "best": ["mine"], "chosen": "mine", "suppressed": False}
    return {"format": "evenhand comparison 1", "title": "Three entries", "groups": ["majority", "minority"], "swept": ["alpha"], "entries": entries, "front": front, "facts": {}}  # fmt: skip


def texts() -> dict[str, Any]:
    def run(name: str, gap: float, fidelity: float) -> dict[str, Any]:
        d = {"audit": "a", "measure": "warmth", "axis": "age", "masked": False, "distance": ""}
        return {"name": name, "gaps": [{**d, "d": estimate(gap, gap - 0.1, gap + 0.1), "systematic": estimate(gap, gap - 0.1, gap + 0.1)}],
                "levels": [{**d, "measure": "contrast", "fidelity": True, "objective": False, "value": estimate(fidelity, 0.1, 0.9)},
                           {**d, "fidelity": False, "objective": True, "value": estimate(1, 0.9, 1.1)}]}  # fmt: skip

    return {"format": "evenhand texts 1", "title": "Messages", "runs": [run("original", 0.5, 0.6), run("selected", -0.25, 0.5)], "requirements": [], "facts": {}}  # fmt: skip


CERTIFICATE = {
    "format": "evenhand certificate 1",
    "certified": True,
    "gamma": 0.1,
    "d_upper": 0.0812,
    "model": {"title": "A model"},
    "data": {"file_sha256": "d"},
}
TRANSFER = {"format": "evenhand transfer 2", "title": "Policies", "gibbs": [{"kind": "gibbs", "setting": 0.1, "gap": {**estimate(0.2, 0.1, 0.3), "n_prompts": 90}}], "facts": {}}  # fmt: skip
CHECK = {"format": "evenhand check 2", "severity": "warning", "verdict": "Mend it.", "users": 80, "facts": {"data": "x.csv"}}
PEOPLE = {
    "format": "evenhand users 1", "model": "m",
    "groups": [{"group": "minority", "n_users": 48, "users": [
        {"user": "00ff00ff00ff", "accuracy": 0.25, "n_pairs": 12, "misordered": 9, "support": 0.3,
         "pairs": [{"prompt": f"{SECRET}?", "chosen": "<b>yes</b>", "rejected": "no", "margin": -1.5, "support": 0.3}]}]}],
}  # fmt: skip


def put(folder: Path, document: Any, name: str = "report.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind, and what a run is not."""
    outside = put(tmp_path_factory.mktemp("outside"), audit(title=SECRET))
    (outside / "groups.csv").write_text(SECRET)
    root = tmp_path_factory.mktemp("runs")
    made(example.realistic()).save(root / "audits" / "real")
    first = put(root / "audits" / "run-2", audit())
    put(first, PEOPLE, "users.json")
    for name in ("examples.html", "assignments.csv", "notes.html", "secret.json"):
        (first / name).write_text(SECRET)
    (first / "groups.csv").symlink_to(outside / "groups.csv")
    (first / "report.html").write_text(
        "<title>report</title><script>document.title='owned'; parent.document.title='owned'</script><form action=/>x</form>"
    )
    put(root / "audits" / "run-10", audit(0.01, "PASS", "Another audit", "2026-11-21 10:00 UTC"))
    put(root / "audits" / "run-3", audit(0.2, "INSUFFICIENT", "A third", "2026-11-19"))
    put(root / "sweep", comparison())
    put(root / "texts", texts())
    put(root / "certified", CERTIFICATE, "certificate.json")
    put(root / "policies", TRANSFER)
    put(root / "checked", CHECK, "check.json")
    put(root / "foreign", {"tests": 3})
    put(root / "later", {"format": "evenhand report 99"})
    put(root / "cut", '{"format": "evenhand rep')
    put(root / ".hidden", audit(title=SECRET))
    (root / "linked").symlink_to(outside)
    (root / "link").mkdir()
    (root / "link" / "report.json").symlink_to(outside / "report.json")
    os.mkfifo(root / "link" / "check.json")
    for i, text in enumerate(HOSTILE):
        put(root / "hostile" / text, audit(0.001 * i, title=text) | {"facts": {text: text}})
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """The page behind its guards, served by uvicorn; its address without the last slash."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = guarded(folder, host="127.0.0.1", token=None)
    running = uvicorn.Server(uvicorn.Config(application, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    running.should_exit = True
    thread.join(10)


def ask(server: str, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
    """One request, its path as it is: no client puts it in order first."""
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body:
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body.encode() or None)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}
    connection.close()
    return found


def rows(page: str) -> list[str]:
    """Names of the runs of a table, in its order."""
    return re.findall(r'<a href="/run/[0-9a-f]{16}">([^<]*)</a>', page)


def key(server: str, name: str) -> str:
    page = ask(server, f"/?{urlencode({'search': name})}")[1]
    return re.search(rf'<a href="(/run/[0-9a-f]{{16}})">{re.escape(name)}</a>', page)[1]


# --- the table ---


def test_every_kind_is_found_and_what_is_none_is_named_and_counted(server: str) -> None:
    status, page, headers = ask(server, "/")
    assert status == 200
    known = {
        "audits/real",
        "audits/run-2",
        "audits/run-3",
        "audits/run-10",
        "sweep",
        "texts",
        "certified/certificate.json",
        "policies",
        "checked/check.json",
    }
    assert {n for n in rows(page) if not n.startswith("hostile")} == known
    assert f"{len(known) + len(HOSTILE)} runs" in page
    assert "5 files could not be read" in page
    assert set(re.findall(r"<code>([^<]*)</code>", page)) == {
        "foreign/report.json", "later/report.json", "cut/report.json", "link/report.json", "link/check.json"
    }  # fmt: skip
    assert SECRET not in page
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (audit(), ("audit", "FAIL", "accuracy gap, points", "6.2", "3.2 to 9.2")),
        (comparison(), ("sweep", "", "accuracy, mine", "70.0\u00a0%", "68.0 to 72.0")),
        (texts(), ("texts", "", "largest d, warmth by age", "−0.25", "−0.35 to −0.15")),
        (CERTIFICATE, ("certificate", "CERTIFIED", "gap at most, gamma 0.1", "0.0812", "")),
        (CERTIFICATE | {"certified": False}, ("certificate", "NOT CERTIFIED", "gap at most, gamma 0.1", "0.0812", "")),
        (TRANSFER, ("policies", "", "gap at β = 0.1, points", "20.0", "10.0 to 30.0")),
        (CHECK, ("data check", "WARNING", "users", "80", "")),
        ({"format": "evenhand diff 1", "numbers": [{"difference": 0.0}, {"difference": 2}, {"difference": None}]}, ("difference", "", "numbers that differ", "1", "")),
    ],
)  # fmt: skip
def test_main_figure_of_each_kind(document: dict[str, Any], said: tuple[str, ...]) -> None:
    found = gist(document["format"].split()[1], document)
    assert found.figure is not None
    assert (found.kind, found.verdict, found.figure.name, found.figure.shown, found.figure.interval) == said


def test_numbers_of_small_groups_are_hidden_whatever_the_file_holds(server: str) -> None:
    page = ask(server, key(server, "audits/run-2"))[1]
    assert "under 10 users" in page
    assert "10.0" not in page  # accuracy of the nine


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("kind=audit&sort=name&search=run-", ["audits/run-2", "audits/run-3", "audits/run-10"]),
        ("kind=audit&sort=name&order=down&search=run-", ["audits/run-10", "audits/run-3", "audits/run-2"]),
        ("search=run-&sort=figure", ["audits/run-10", "audits/run-2", "audits/run-3"]),
        ("search=run-&sort=figure&order=down", ["audits/run-3", "audits/run-2", "audits/run-10"]),
        ("search=run-", ["audits/run-10", "audits/run-2", "audits/run-3"]),
        ("search=run-&sort=date&order=up", ["audits/run-3", "audits/run-2", "audits/run-10"]),
        ("search=run-&sort=verdict", ["audits/run-2", "audits/run-3", "audits/run-10"]),
        ("search=ANOTHER++audit", ["audits/run-10"]),
        ("search=2026-11-21", ["audits/run-10"]),  # a fact
        ("verdict=PASS", ["audits/run-10"]),
        ("kind=sweep", ["sweep"]),
        ("verdict=none&kind=texts", ["texts"]),
        ("kind=nothing", []),
        ("search=run-&sort=evil&order=%00&page=99999999999&x=y", ["audits/run-10", "audits/run-2", "audits/run-3"]),
    ],
)
def test_sort_filter_and_search_stand_in_the_address(server: str, address: str, names: list[str]) -> None:
    assert rows(ask(server, f"/?{address}")[1]) == names


def test_numbers_of_different_measures_are_not_ordered_among_each_other(tmp_path: Path) -> None:
    """A bound of 0.0812 lies between these two gaps, and is neither larger nor smaller than them."""
    put(tmp_path / "a", audit(0.05))
    put(tmp_path / "b", CERTIFICATE, "certificate.json")
    put(tmp_path / "c", audit(0.4))
    found = runs.Shelf(tmp_path).find().runs
    for order, names in (("up", "acb"), ("down", "bca")):
        assert "".join(r.name[0] for r in listing.listed(found, listing.Query(sort="figure", order=order)).runs) == names


def test_pages_and_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        put(tmp_path / f"run-{i}", audit(0.001 * i))
    shelf = runs.Shelf(tmp_path)
    monkeypatch.setattr(listing, "PAGE", 3)
    found = shelf.find().runs
    pages = [[r.name for r in listing.listed(found, listing.Query(sort="name", page=p)).runs] for p in (1, 2, 3, 4)]
    assert pages == [["run-0", "run-1", "run-2"], ["run-3", "run-4", "run-5"], ["run-6"], ["run-6"]]
    monkeypatch.setattr(runs, "MOST_RUNS", 4)
    assert [r.name for r in shelf.find().runs] == ["run-0", "run-1", "run-2", "run-3"]
    assert "first 4 reports" in shelf.find().cut


def test_a_changed_report_is_read_anew_and_an_unchanged_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a", audit())
    put(tmp_path / "b", audit())
    shelf = runs.Shelf(tmp_path)
    shelf.find()
    read = []
    inner = runs.inside.read
    monkeypatch.setattr(runs.inside, "read", lambda root, place, most: read.append(place) or inner(root, place, most))
    put(tmp_path / "b", audit(verdict="INSUFFICIENT"))
    assert [r.gist.verdict for r in shelf.find().runs] == ["FAIL", "INSUFFICIENT"]
    assert read == [("b", "report.json")]


# --- what is never served ---


def test_nothing_outside_and_nothing_unlisted_is_served(server: str, folder: Path) -> None:
    run = key(server, "audits/run-2")
    names = [
        "../../../outside0/groups.csv", "..%2f..%2foutside0%2fgroups.csv", "%2e%2e/report.json", "..%5c..%5csecret.json", "groups.csv", "secret.json",
        "assignments.csv", "notes.html", "users.json", ".evenhand.json", "report.json%00.html", "%2fetc%2fpasswd", "//etc/passwd", "report.json/",
        "REPORT.JSON", "../../run-3/report.json", "examples.html", "", ".", "..", "%252e%252e%252fsecret.json", "report.json/../secret.json", "model/weights",
    ]  # fmt: skip
    for name in names:
        status, page, _ = ask(server, f"{run}/file/{name}")
        assert status in (403, 404), name
        assert SECRET not in page
        assert "root:" not in page
    hidden = [f"/run/{quote(p, safe='')}" for p in ("../../etc/passwd", "linked", "audits/run-2", "0" * 16, ".hidden", "\0")]
    for path in (
        *hidden,
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/view.css/../app.py",
        "/app.py",
        "/page.css",
        "/docs",
        "/openapi.json",
    ):
        assert ask(server, path)[0] == 404, path


def test_a_folder_that_becomes_a_link_is_not_followed(server: str, folder: Path, tmp_path: Path) -> None:
    put(folder / "moving", audit(title="mine"))
    run = key(server, "moving")
    (folder / "moving" / "report.json").unlink()
    (folder / "moving").rmdir()
    put(tmp_path / "elsewhere", audit(title=SECRET))
    (folder / "moving").symlink_to(tmp_path / "elsewhere")
    for path in (run, f"{run}/file/report.json"):
        status, page, _ = ask(server, path)
        assert status == 404
        assert SECRET not in page
    (folder / "moving").unlink()


def test_guards_stand_before_every_page(server: str) -> None:
    assert ask(server, "/", host="evil.example")[0] == 403
    assert ask(server, "/view.css", origin="http://evil.example")[0] == 403
    assert ask(server, "/", "POST", "x=1")[0] == 413
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert ask(server, "/", method)[0] == 405
    with pytest.raises(EvenhandError, match="no token"):
        guarded(Path("."), host="0.0.0.0", token=None)


def test_reports_are_served_as_of_no_origin(server: str) -> None:
    run = key(server, "audits/run-2")
    headers = ask(server, f"{run}/file/report.html")[2]
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert '<iframe class="report" sandbox=""' in ask(server, run)[1]
    assert ask(server, f"{run}/file/report.json")[2]["content-type"].startswith("text/plain")


# --- a run, its people, two runs ---


def test_from_a_group_to_its_users_to_their_pairs_without_texts(server: str) -> None:
    run = key(server, "audits/run-2")
    page = ask(server, run)[1]
    assert f'href="{run}/group?group=minority"' in page
    assert "group?group=majority" not in page  # its users are not in the file
    page = ask(server, f"{run}/group?group=minority")[1]
    assert f'href="{run}/user?group=minority&amp;user=00ff00ff00ff"' in page
    assert "25.0" in page
    page = ask(server, f"{run}/user?group=minority&user=00ff00ff00ff")[1]
    assert "9 of 12 pairs" in page
    assert "−1.500" in page
    assert f">{len(SECRET) + 1}<" in page  # characters of the prompt
    assert SECRET not in page
    assert ask(server, f"{run}/user?group=minority&user=x")[0] == ask(server, f"{run}/group?group=tiny")[0] == 404
    assert "--show-examples" in ask(server, key(server, "audits/run-3"))[1]


def test_texts_are_shown_where_the_server_was_started_for_them(folder: Path) -> None:
    async def pages(*paths: str) -> list[httpx.Response]:
        application = guarded(folder, host="127.0.0.1", token=None, show_text=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://127.0.0.1") as client:
            return [await client.get(path) for path in paths]

    table = asyncio.run(pages("/?search=run-2"))[0].text
    run = re.search(r'href="(/run/[0-9a-f]{16})"', table)[1]
    user, private = asyncio.run(pages(f"{run}/user?group=minority&user=00ff00ff00ff", f"{run}/file/examples.html"))
    assert f"{SECRET}?" in user.text
    assert "Chosen: &lt;b&gt;yes&lt;/b&gt;" in user.text
    assert private.text == SECRET
    assert private.headers["content-security-policy"].startswith("sandbox")


def test_two_runs_of_one_kind_and_of_two(server: str) -> None:
    a, b, other = (key(server, n).removeprefix("/run/") for n in ("audits/run-2", "audits/run-10", "sweep"))
    page = ask(server, f"/compare?run={a}&run={b}")[1]
    assert "2026-11-20 10:00 UTC" in page  # a fact that differs
    assert f'src="/compare/report?run={a}&amp;run={b}"' in page
    report = ask(server, f"/compare/report?run={a}&run={b}")[1]
    assert "−5.2" in report  # 1.0 less 6.2 points
    page = ask(server, f"/compare?run={a}&run={other}")[1]
    assert "iframe" not in page
    assert "entries › mine › held_out › accuracy" in page
    assert "0.8000" in page
    assert ask(server, f"/compare/report?run={a}&run={other}")[0] == 400
    for wrong in ("", f"?run={a}", f"?run={a}&run={b}&run={other}"):
        assert ask(server, f"/compare{wrong}")[0] == 400
    assert ask(server, f"/compare?run={a}&run=nothing")[0] == 404


def test_points_of_a_frontier_lie_where_their_numbers_say(server: str) -> None:
    (plane,) = frontier.planes("comparison", comparison())
    assert [(s.name, s.role) for s in plane.spots] == [("base", "reference"), ("mine", "chosen"), ("worse", "behind it")]
    drawn = frontier.svg(plane, 860)
    hits = {n: (float(x), float(y)) for n, x, y in re.findall(r'aria-label="(\w+),.*?class="hit" cx="([\d.]+)" cy="([\d.]+)"', drawn)}
    assert hits["base"] == pytest.approx([(u + v) / 2 for u, v in zip(hits["mine"], hits["worse"])], abs=0.2)
    assert hits["worse"][0] < hits["base"][0] < hits["mine"][0]
    assert hits["worse"][1] > hits["base"][1] > hits["mine"][1]  # pixels go down
    assert (
        "<title>mine, chosen: accuracy, majority 80.0\u00a0% (78.0\u00a0to\u00a082.0); accuracy, minority 60.0\u00a0% (58.0\u00a0to\u00a062.0)</title>"
        in drawn
    )
    (plane,) = frontier.planes("texts", texts())
    assert [(s.name, s.x.value, s.y.value, s.role) for s in plane.spots] == [
        ("original", 0.5, 0.6, "reference"),
        ("selected", -0.25, 0.5, "a run"),
    ]
    assert frontier.planes("report", audit()) == ()


# --- whatever the files hold ---


def test_hostile_names_change_no_page(server: str) -> None:
    status, page, _ = ask(server, "/?search=hostile")
    assert status == 200
    assert Skeleton(page).addresses <= {a for a in Skeleton(page).addresses if re.match(r"[/#]|$", a)}
    for text in HOSTILE:
        shown = f"hostile/{one_line(text)}"
        assert sum(shown in part for part in Skeleton(page).text) >= 1, text
    tags = {t for t, _ in Skeleton(page).tags}
    assert not tags & {"img", "svg", "iframe", "object", "base", "style"}
    assert page.count("<script") == 1


def test_no_document_makes_a_page_fail() -> None:
    """Documents with any part replaced by what does not belong there."""
    nasty = [
        None,
        True,
        -1,
        1e299,
        10**400,
        "x",
        "<b>",
        "\ud800",
        [],
        {},
        [[]],
        [{}],
        {"value": "x", "low": [], "high": {}},
        {"value": 1e299, "low": -1e299, "high": 1e299},
    ]
    draw = random.Random(0)

    def changed(value: Any) -> Any:
        if draw.random() < 0.06:
            return draw.choice(nasty)
        if isinstance(value, dict):
            return {k: changed(v) for k, v in value.items()}
        return [changed(v) for v in value] if isinstance(value, list) else value

    for _ in range(60):
        for start in (audit(), comparison(), texts(), CERTIFICATE, TRANSFER, CHECK):
            kind = start["format"].split()[1]
            document = changed(copy.deepcopy(start))
            if not isinstance(document, dict):
                continue
            gist(kind, document)
            for plane in frontier.planes(kind, document):
                assert "nan" not in re.sub(r">[^<]*<", "", frontier.svg(plane, 340))
            tables.requirements(document, "user")
            tables.groups(document, "/run/x", ())


# --- a browser ---


def key_press(browser: chromium.Browser, name: str, code: int, **more: Any) -> None:
    for kind in ("rawKeyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **more)


def until(browser: chromium.Browser, script: str) -> Any:
    """What the script gives as soon as it is true of the page. A page that is just being left for another cannot be asked."""
    end = time.monotonic() + 30
    while True:
        try:
            if found := browser.evaluate(script):
                return found
        except RuntimeError as error:
            if "target navigated" not in str(error):
                raise
        assert time.monotonic() < end, f"never: {script}"
        time.sleep(0.02)


NAMES = "[...document.querySelectorAll('.runs tbody th a')].map(a => a.textContent).join()"


def test_filter_sort_back_and_forward_without_a_new_page(browser: chromium.Browser, server: str) -> None:
    browser.open(f"{server}/", 1200, dark=False)
    browser.evaluate("window.stays = 1; document.getElementById('search').focus()")
    browser.call("Input.insertText", text="run-")
    until(browser, "location.search === '?search=run-'")
    until(browser, f"{NAMES} === 'audits/run-10,audits/run-2,audits/run-3'")
    browser.call("Input.insertText", text="2")
    until(browser, f"{NAMES} === 'audits/run-2'")
    assert browser.evaluate("document.activeElement.id") == "search"  # typing goes on
    browser.evaluate("history.back()")
    until(browser, "location.search === '' && document.getElementById('search').value === ''")
    until(browser, f"({NAMES}).includes('sweep')")
    browser.evaluate("history.forward()")
    until(browser, f"{NAMES} === 'audits/run-2'")
    assert browser.evaluate("document.getElementById('search').value") == "run-2"
    browser.evaluate("history.back()")
    until(browser, f"location.search === '' && ({NAMES}).includes('sweep')")
    browser.evaluate("const k = document.getElementById('kind'); k.value = 'audit'; k.dispatchEvent(new Event('change', {bubbles: true}))")
    until(browser, f"location.search === '?kind=audit' && !({NAMES}).includes('sweep')")
    browser.evaluate("document.querySelector('.c-name a').focus()")
    key_press(browser, "Enter", 13, text="\r")
    until(browser, "location.search === '?kind=audit&sort=name'")
    until(browser, "document.querySelector('.c-name').ariaSort === 'ascending' && document.activeElement.closest('.c-name') !== null")
    assert browser.evaluate("window.stays") == 1
    assert [e for e in browser.complaints() if e["method"] != "Network.requestWillBeSent"] == []


def test_two_runs_are_ticked_and_compared(browser: chromium.Browser, server: str) -> None:
    browser.open(f"{server}/?kind=audit&search=run-", 1200, dark=False)
    assert until(browser, "document.getElementById('compare').disabled")
    browser.evaluate("[...document.querySelectorAll('.tick input')].slice(0, 2).forEach(b => b.click())")
    assert browser.evaluate("[...document.querySelectorAll('.tick input')].map(b => b.disabled).join()") == "false,false,true"
    browser.evaluate("document.getElementById('compare').click()")
    until(browser, "location.pathname === '/compare' && document.querySelector('iframe') !== null")


def test_a_ticked_run_is_held_over_searches_and_the_back_button(browser: chromium.Browser, server: str) -> None:
    one, other = key(server, "audits/run-2")[5:], key(server, "audits/run-10")[5:]
    browser.open(f"{server}/?search=run-2", 1200, dark=False)
    browser.evaluate("document.querySelector('.tick input').click()")
    assert browser.evaluate("location.search") == f"?search=run-2&held={one}"
    browser.evaluate(
        "const s = document.getElementById('search'); s.value = 'run-10'; s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    until(browser, f"{NAMES} === 'audits/run-10'")
    assert "With audits/run-2: tick another" in browser.evaluate("document.querySelector('.bar-below').innerText")
    browser.evaluate("document.querySelector('.tick input').click(); document.getElementById('compare').click()")
    until(browser, f"location.pathname + location.search === '/compare?run={one}&run={other}'")
    browser.evaluate("history.back()")
    until(browser, f"location.search === '?search=run-10&held={one}' && document.readyState === 'complete'")
    browser.evaluate("document.querySelector('.drop').click()")
    until(browser, "location.search === '?search=run-10' && !document.querySelector('.drop')")


def test_who_comes_back_to_the_tab_sees_what_was_written_meanwhile(browser: chromium.Browser, server: str, folder: Path) -> None:
    browser.open(f"{server}/?search=meanwhile", 1200, dark=False)
    assert browser.evaluate(NAMES) == ""
    try:
        put(folder / "meanwhile", audit())
        browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        until(browser, f"{NAMES} === 'meanwhile'")
    finally:
        shutil.rmtree(folder / "meanwhile")


def test_without_a_script_the_form_and_the_links_work(browser: chromium.Browser, server: str) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(f"{server}/?search=run-&kind=audit", 1200, dark=False)
        place = "(e => { const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })"
        for selector, address in (
            (".c-name a", "?search=run-&kind=audit&sort=name"),
            (".go button", "?search=run-&kind=audit&verdict=&sort=name&order="),
        ):
            x, y = browser.evaluate(f"{place}(document.querySelector('{selector}'))")
            for kind in ("mousePressed", "mouseReleased"):
                browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            until(browser, f"location.search === '{address}' && document.readyState === 'complete'")
        assert browser.evaluate(NAMES) == "audits/run-2,audits/run-3,audits/run-10"
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_marks_of_the_frontier_speak_to_keyboard_and_pointer(browser: chromium.Browser, server: str) -> None:
    browser.open(f"{server}{key(server, 'sweep')}", 1200, dark=False)
    shown = "[...document.querySelectorAll('.wide .tip.strong')].filter(t => getComputedStyle(t).visibility === 'visible').map(t => t.textContent).join()"
    assert browser.evaluate(shown) == ""
    browser.evaluate("document.querySelector('.parts li:last-child a').focus()")
    key_press(browser, "Tab", 9)
    assert browser.evaluate("document.activeElement.classList.contains('spot')")
    assert browser.evaluate(shown) == "worse, behind it"
    key_press(browser, "Tab", 9)
    assert browser.evaluate(shown) == "mine, chosen"
    x, y = browser.evaluate(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector('.wide .spot.reference .hit').getBoundingClientRect())"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert browser.evaluate(shown) == "base, reference"


def test_a_report_that_holds_a_script_runs_nothing(browser: chromium.Browser, server: str) -> None:
    run = key(server, "audits/run-2")
    browser.open(f"{server}{run}", 1200, dark=False)
    browser.evaluate("document.querySelector('iframe').scrollIntoView()")
    time.sleep(0.2)
    assert "run-2" in browser.evaluate("document.title")
    browser.open(f"{server}{run}/file/report.html", 1200, dark=False)
    assert browser.evaluate("document.title") == "report"
    assert browser.evaluate("origin") == "null"


@pytest.mark.parametrize("width", [1200, 400])
def test_pages_fit_are_silent_and_have_landmarks_and_labels(browser: chromium.Browser, server: str, width: int) -> None:
    run, real, sweep = (key(server, n) for n in ("audits/run-2", "audits/real", "sweep"))
    pair = f"/compare?run={run[5:]}&run={real[5:]}"
    for path in (
        "/",
        "/?search=hostile",
        real,
        sweep,
        f"{run}/group?group=minority",
        f"{run}/user?group=minority&user=00ff00ff00ff",
        pair,
        f"/compare?run={run[5:]}&run={sweep[5:]}",
    ):
        browser.open(server + path, width, dark=width == 400)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, path
        loud = [e for e in browser.complaints() if e["method"] != "Network.requestWillBeSent"]
        assert loud == [], path
        asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
        assert all(a.startswith(server) for a in asked)
        count = "['main', 'header', 'footer', 'h1', 'nav[aria-label]'].map(s => document.querySelectorAll(s).length)"
        main, header, footer, h1, nav = browser.evaluate(count)
        assert (main, header, footer, h1) == (1, 1, 1, 1)
        assert nav >= 1
        bare = "[...document.querySelectorAll('input:not([type=hidden]), select, iframe, [role=region], [role=group]:not(details), [role=search], nav')].filter(e => !(e.labels?.length || e.ariaLabel || e.title)).length"
        assert browser.evaluate(bare) == 0, path
        ids = "(i => i.length === new Set(i).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
        assert browser.evaluate(ids), path
    browser.open(f"{server}/", width, dark=False)
    browser.evaluate("document.body.focus()")
    key_press(browser, "Tab", 9)
    assert browser.evaluate("document.activeElement.className") == "skip"
    key_press(browser, "Enter", 13, text="\r")
    assert until(browser, "document.activeElement.id === 'main'")


NAMED = (
    "link",
    "button",
    "checkbox",
    "searchbox",
    "combobox",
    "image",
    "table",
    "Iframe",
    "DisclosureTriangle",
    "navigation",
    "region",
    "search",
)
ONCE = ("banner", "main", "contentinfo")
PLACE = "[...document.querySelectorAll('*')].indexOf(document.activeElement)"


def test_a_screen_reader_is_told_what_a_page_has(browser: chromium.Browser, server: str) -> None:
    """Chromium's accessibility tree: landmarks once, or by names of their own, whatever one can do something with by a name, headings in steps,
    tables with headings of both kinds; and Tab stops at each thing once, in the order in which it is read.
    """
    run, sweep = key(server, "audits/run-2"), key(server, "sweep")
    user = f"{run}/user?group=minority&user=00ff00ff00ff"
    for path in ("/?search=run-", run, sweep, f"{run}/group?group=minority", user, f"/compare?run={run[5:]}&run={sweep[5:]}", "/run/none"):
        browser.open(server + path, 1200, dark=False)
        told = browser.told()
        names = {role: [n["name"].strip() for n in told if n["role"] == role] for role in {n["role"] for n in told}}
        assert {role: len(names[role]) for role in ONCE} == dict.fromkeys(ONCE, 1), path
        assert [role for role in NAMED if not all(names.get(role, ()))] == [], path
        for landmark in ("navigation", "region", "search"):
            assert len(set(names.get(landmark, ()))) == len(names.get(landmark, ())), (path, landmark)
        levels = [n["level"] for n in told if n["role"] == "heading"]
        assert levels[0] == 1, path
        assert all(b <= a + 1 for a, b in pairwise(levels)), path
        assert not names.get("table") or (names["columnheader"] and names["rowheader"]), path
        if path.startswith("/?"):
            assert (names["search"], len(names["status"])) == (["Find runs"], 1)
            within = ("RootWebArea", "main", "MenuListPopup", "option")
            stops = [n for n in told if n.get("focusable") and not n.get("disabled") and n["role"] not in within]
            seen: list[int] = []
            while len(seen) <= len(stops):
                key_press(browser, "Tab", 9)
                if (place := browser.evaluate(PLACE)) <= (seen[-1] if seen else 0):
                    break
                seen.append(place)
            assert len(seen) == len(stops), "each once, from the first to the last"


def test_what_the_filter_finds_is_told_in_one_place_that_stays(browser: chromium.Browser, server: str) -> None:
    browser.open(f"{server}/", 1200, dark=False)
    browser.evaluate("window.told = document.getElementById('tally'); document.getElementById('search').focus()")
    browser.call("Input.insertText", text="run-2")
    until(browser, f"{NAMES} === 'audits/run-2'")
    assert browser.evaluate("document.getElementById('tally') === window.told && window.told.textContent").startswith("1 of ")


# --- the program ---


def test_it_starts_answers_and_ends_with_an_interrupt(folder: Path) -> None:
    code = "import sys; from evenhand.workflows.view import view; view(sys.argv[1], port=0, ready=lambda a: print(a, flush=True)); print('ended')"
    program = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = program.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    assert "audits/run-2" in ask(address.rstrip("/"), "/")[1]
    with pytest.raises(EvenhandError, match="Cannot listen on"):
        view(folder, port=int(address.split(":")[2].rstrip("/")))
    with pytest.raises(EvenhandError, match="Cannot listen on"):
        view(folder, port=65_536)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (0, "ended\n", "")


def test_what_cannot_be_shown_is_said_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvenhandError, match="no such folder"):
        view(tmp_path / "nothing")
    monkeypatch.setenv("EVENHAND_TOKEN", "short")
    with pytest.raises(EvenhandError, match="5 bytes"):
        view(tmp_path)
