"""The pages and their addresses. Everything is read (GET) and nothing is kept; who may ask is decided before (`serve.guards`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files as packaged
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from evenhand.core import DataError, EvenhandError
from evenhand.report.diff import KINDS, Diff, report
from evenhand.report.examples import People
from evenhand.report.publish import one_line
from evenhand.report.written import side
from evenhand.viewer import files, frontier, inside, listing, people, tables
from evenhand.viewer.gist import MOST_FACTS, SIGNS, TONES, at, lines
from evenhand.viewer.runs import Run, Shelf

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# of a report: whoever wrote it, it runs nothing, asks for nothing, and is of no origin. A sandbox and an opener policy exclude each other
SANDBOXED = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "cross-origin-opener-policy": "unsafe-none",
}
WIDE, HALF, NARROW = 860, 560, 340  # pixels of a figure that stands alone, of one of several, and of one on a telephone
MOST_BROKEN = 200  # files that are named


def application(root: Path, *, show_text: bool = False) -> FastAPI:
    """root: the folder whose runs are shown. show_text: whether raw texts of private files may be."""
    shelf = Shelf(root)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    name = one_line(shelf.root.name or str(shelf.root))

    def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
        text = _environment().get_template(f"{template}.html.j2").render(folder=name, show_text=show_text, **values)
        return HTMLResponse(text, status, {"content-security-policy": POLICY})

    def run_of(key: str) -> Run:
        return shelf.run(key) or _missing("There is no such run: its folder was moved, or it was never here.")

    def people_of(run: Run) -> tuple[People, ...]:
        """() where there is no file of users."""
        if not shelf.root.joinpath(*run.folder, people.USERS).is_file() or run.gist.kind != "audit":
            return ()
        return people.people(inside.read(shelf.root, (*run.folder, people.USERS), people.MOST_BYTES))

    def group_of(run: Run, group: str) -> People:
        return next((p for p in people_of(run) if p.group == group), None) or _missing("There is no such group in the file of users.")

    def two(request: Request) -> tuple[Run, Run]:
        keys = request.query_params.getlist("run")
        if len(keys) != 2:
            raise HTTPException(400, f"{len(keys)} runs are chosen. Two are put side by side: tick two in the table of runs.")
        return run_of(keys[0]), run_of(keys[1])

    @app.get("/")
    def runs(request: Request) -> Response:
        found = shelf.find()
        shown = listing.listed(found.runs, listing.asked(request.query_params))
        held = next((r for r in found.runs if r.key == shown.query.held and r not in shown.runs), None)  # ticked, and not on this page
        return page(
            "runs", found=found, listed=shown, held=held, sorts=listing.SORTS, broken=found.broken[:MOST_BROKEN], tones=TONES, signs=SIGNS
        )

    @app.get("/run/{key}")
    def run(key: str) -> Response:
        one = run_of(key)
        kind, document = shelf.document(one)
        private, why = _or_why(lambda: people_of(one))
        known = frontier.planes(kind, document)
        planes = [(p, frontier.svg(p, WIDE if len(known) == 1 else HALF), frontier.svg(p, NARROW)) for p in known]
        return page(
            "run", run=one, files=files.listed(shelf.root, one, show_text), page=files.page(one), planes=planes, why=why, roles=frontier.roles(known),
            requirements=tables.requirements(document, "block" if kind == "texts" else "user"),
            groups=tables.groups(document, f"/run/{key}", private) if kind == "report" else None, has_people=bool(private),
            facts=list(lines(at(document, "facts")))[:MOST_FACTS],
        )  # fmt: skip

    @app.get("/run/{key}/file/{name}")
    def file(key: str, name: str) -> Response:
        one = run_of(key)
        found = next((f for f in files.listed(shelf.root, one, show_text) if f.name == name), None)
        if found is None:
            _missing("There is no such file of this run.")
        if not found.is_open:
            raise HTTPException(403, "This page holds raw texts of users. To see it, start the server with --show-text.")
        content = inside.read(shelf.root, (*one.folder, name), files.MOST_BYTES)
        kind = files.type_of(name)
        more = {"content-disposition": f'attachment; filename="{name}"'} if kind == "application/pdf" else {}
        return Response(content, media_type=kind, headers={**SANDBOXED, **more})

    @app.get("/run/{key}/group")
    def group(key: str, group: str = "") -> Response:
        one = run_of(key)
        found = group_of(one, group)
        return page("group", run=one, group=found, users=tables.users(f"/run/{key}", found))

    @app.get("/run/{key}/user")
    def user(key: str, group: str = "", user: str = "") -> Response:
        one = run_of(key)
        found = group_of(one, group)
        person = next((p for p in found.users if p.user == user), None) or _missing("There is no such user in the file of users.")
        return page("user", run=one, group=found, person=person, pairs=tables.pairs(person, show_text))

    @app.get("/compare")
    def compare(request: Request) -> Response:
        a, b = two(request)
        (kind, one), (other, second) = shelf.document(a), shelf.document(b)
        sides = side(a.name, one), side(b.name, second)
        has_diff = kind == other and kind in KINDS
        return page(
            "compare", a=a, b=b, both=tables.both((a.name, b.name), (a.gist, b.gist), (a.date, b.date)), facts=tables.facts(*sides),
            figures=None if has_diff else tables.figures(*sides), has_diff=has_diff,
        )  # fmt: skip

    @app.get("/compare/report")
    def difference(request: Request) -> Response:
        a, b = two(request)
        (kind, one), (other, second) = shelf.document(a), shelf.document(b)
        if kind != other or kind not in KINDS:
            raise HTTPException(400, "These are two kinds of report, or of a kind that is not put side by side.")
        return HTMLResponse(report(Diff(kind, side(a.name, one), side(b.name, second))).html(), headers=SANDBOXED)

    @app.get("/{name}")
    def asset(name: str) -> Response:
        if name not in ASSETS:
            _missing("There is no such page.")
        return Response(_asset(name), media_type=ASSETS[name])

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return page(
            "error",
            error.status_code,
            why=error.detail if error.status_code != 404 or error.detail != "Not Found" else "There is no such page.",
        )

    @app.exception_handler(EvenhandError)
    def mended(request: Request, error: EvenhandError) -> Response:
        return page("error", 422, why=str(error))

    return app


ASSETS = {"view.css": "text/css", "view.js": "text/javascript", "icon.svg": "image/svg+xml"}


@cache
def _asset(name: str) -> str:
    own = (packaged("evenhand.viewer") / "templates" / name).read_text(encoding="utf-8")
    return (packaged("evenhand.report") / "templates" / "page.css").read_text(encoding="utf-8") + own if name == "view.css" else own


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("evenhand.viewer"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _or_why(found: Callable[[], tuple[People, ...]]) -> tuple[tuple[People, ...], str]:
    """The file of users, or why it cannot be read."""
    try:
        return found(), ""
    except DataError as error:
        return (), str(error)


def _missing(why: str) -> NoReturn:
    raise HTTPException(404, why)
