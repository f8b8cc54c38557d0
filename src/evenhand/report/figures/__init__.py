"""Figures as inline SVG that follows the page: its colours are CSS variables, its text is the page's text.

Shapes are written as they are drawn, later ones over earlier ones. Every label is escaped where it is written, and the same numbers give the
same bytes. Nothing is measured: margins are fixed, since nobody knows the reader's fonts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

INK, MUTED, RULE, BLUE, ORANGE, GREY, BAND, PAPER = (  # the page's style sheet holds a light and a dark value of each
    f"var(--{name})" for name in ("ink", "muted", "rule", "blue", "orange", "grey", "band", "paper")
)
DASHED, DOTTED = "6 3", "2 3"  # lengths of strokes and gaps
LEGEND_ROW, SIGN, LETTER, APART = 18, 20, 6.0, 18  # pixels of a legend's row, a sign, a letter at font size 11, and between two entries

XY = tuple[float, float]
Limits = tuple[float, float]
Margins = tuple[float, float, float, float]  # left, right, top, bottom
Side = Literal["left", "center", "right"]
MARKERS: dict[str, Sequence[XY]] = {  # corners in radii; "o" is a circle
    "s": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)), "D": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "^": ((0, -1), (1, 1), (-1, 1)), "v": ((0, 1), (1, -1), (-1, -1)), "<": ((-1, 0), (1, -1), (1, 1)), ">": ((1, 0), (-1, -1), (-1, 1)),
    "P": tuple((x, y) for x, y in ((-1, -0.35), (-0.35, -0.35), (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35))),
    "|": ((0, -1), (0, 1)),
}  # fmt: skip


@dataclass
class Canvas:
    """What a plot draws on, `width` x `height` CSS pixels from the upper left corner. name: prefix of ids, which are unique on the page."""

    name: str
    width: int
    height: int
    shapes: list[str] = field(default_factory=list)
    key: dict[str, tuple[Axes, list[Callable[[XY], None]]]] = field(default_factory=dict)  # the legend: what draws each label's sign
    longest: int = 40  # columns of a label of the legend
    ids: dict[str, str] = field(default_factory=dict)  # definition → id

    @property
    def is_narrow(self) -> bool:
        return self.width < 500

    def define(self, shape: str) -> str:
        """The id of a shape that is used often."""
        return self.ids.setdefault(shape, f"{self.name}-{self.width}-{len(self.ids)}")

    def path(self, points: Iterable[XY], style: str, clip: str = "", end: str = "") -> None:
        corners = " L ".join(f"{x:.2f} {y:.2f}" for x, y in points)
        self.shapes.append(f'<path d="M {corners}{end}"{clip} {_style(style)}/>')

    def marker(self, at: XY, shape: str, colour: str, size: float = 7, face: str = "", alpha: float = 1.0) -> None:
        """size: pixels across. face: of what is hollow, its filling."""
        r, style = size / 2, f"fill: {face or colour}; stroke: {colour}; stroke-width: 1.6" + f"; opacity: {alpha:g}" * (alpha < 1)
        corners = " L ".join(f"{r * x:.2f} {r * y:.2f}" for x, y in MARKERS.get(shape, ()))
        form = f'circle id="@" r="{r:.2f}"' if shape == "o" else f'path id="@" d="M {corners} Z"'
        self.shapes.append(f'<use href="#{self.define(f"<{form} {_style(style)}/>")}" x="{at[0]:.2f}" y="{at[1]:.2f}"/>')

    def text(
        self, at: XY, text: str, colour: str = MUTED, side: Side = "left", size: float = 11, longest: int = 80, bold: bool = False, turn: str = "",
        shown: str = "",
    ) -> None:  # fmt: skip
        """A line of text, clipped to `longest` columns, or as `shown`, and whole on hovering; at: its baseline, and there its left end, middle
        or right end.
        """
        shown = shown or clipped(text, longest)
        title = f"<title>{escape(text)}</title>" if shown != text else ""
        anchor = {"left": "start", "center": "middle", "right": "end"}[side]
        style = f"font-size: {size:g}px; text-anchor: {anchor}; fill: {colour}" + "; font-weight: 700" * bold
        self.shapes.append(f'<text x="{at[0]:.2f}" y="{at[1]:.2f}"{turn} {_style(style)}>{title}{escape(shown)}</text>')

    def legend(self) -> None:
        """Every label once, in the upper left corner, in as many rows as they need."""
        for (x, row), (label, (_, signs)) in zip(flow(list(self.key), self.width, self.longest), self.key.items(), strict=True):
            y = 9 + LEGEND_ROW * row
            for sign in signs:
                sign((x, y))
            self.text((x + SIGN + 7, y + 4), label, longest=self.longest)

    def axes(self, left: float, right: float, top: float, bottom: float, x: Limits, y: Limits) -> Axes:
        """Axes between margins in pixels, with their limits: what lies beyond them is cut."""
        return Axes(self, left, self.width - right, top, self.height - bottom, x, y)

    def panes(self, n: int, left: float, right: float, head: float, above: float, below: float, gap: float) -> list[Margins]:
        """Margins of n axes that stand side by side on a page, `gap` apart, and one under another on a telephone, all under `head` pixels of
        legend. left, right: margins of all together; above, below: of each for its title and its ticks.
        """
        if self.is_narrow:
            each = (self.height - head) / n
            return [(left, right, head + i * each + above, (n - 1 - i) * each + below) for i in range(n)]
        each = (self.width - left - right - gap * (n - 1)) / n
        starts = [left + i * (each + gap) for i in range(n)]
        return [(start, self.width - start - each, head + above, below) for start in starts]


@dataclass
class Axes:
    """A rectangle of the canvas with limits of values in both directions."""

    canvas: Canvas
    left: float
    right: float
    top: float
    bottom: float
    xlim: Limits
    ylim: Limits
    paths: list[Sequence[XY]] = field(default_factory=list)  # lines drawn, in pixels
    marked: list[tuple[XY, float]] = field(default_factory=list)  # markers drawn, with their sizes

    @property
    def size(self) -> XY:
        return self.right - self.left, self.bottom - self.top

    def at(self, x: float, y: float) -> XY:
        """Values → pixels."""
        across, up = ((v - low) / (high - low) for v, (low, high) in ((x, self.xlim), (y, self.ylim)))
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    @property
    def clip(self) -> str:
        box = f'x="{self.left:.2f}" y="{self.top:.2f}" width="{self.size[0]:.2f}" height="{self.size[1]:.2f}"'
        key = self.canvas.define(f'<clipPath id="@"><rect {box}/></clipPath>')
        return f' clip-path="url(#{key})"'

    def line(self, points: Iterable[XY], colour: str, width: float = 1.6, dash: str = "", alpha: float = 1.0, label: str = "") -> None:
        style = f"fill: none; stroke: {colour}; stroke-width: {width:g}; stroke-linejoin: round"
        style += f"; stroke-dasharray: {dash}" * bool(dash) + f"; stroke-opacity: {alpha:g}" * (alpha < 1)
        pixels = [self.at(*p) for p in points]
        if pixels:
            self.canvas.path(pixels, style, self.clip)
            self.paths.append(pixels)
        self._key(label, lambda at: self.canvas.path([at, (at[0] + SIGN, at[1])], style))

    def across(self, y: float, colour: str, width: float = 1, dash: str = "", label: str = "") -> None:
        self.line([(self.xlim[0], y), (self.xlim[1], y)], colour, width, dash, label=label)

    def upright(self, x: float, colour: str, width: float = 1, dash: str = "", label: str = "") -> None:
        self.line([(x, self.ylim[0]), (x, self.ylim[1])], colour, width, dash, label=label)

    def area(self, points: Iterable[XY], colour: str = BAND, alpha: float = 1.0, label: str = "") -> None:
        style = f"fill: {colour}" + f"; fill-opacity: {alpha:g}" * (alpha < 1)
        pixels = [self.at(*p) for p in points]
        if pixels:
            self.canvas.path(pixels, style, self.clip, " Z")
        square = ((0, -4), (SIGN, -4), (SIGN, 4), (0, 4))
        self._key(label, lambda at: self.canvas.path([(at[0] + x, at[1] + y) for x, y in square], style, end=" Z"))

    def band(self, x: Limits, y: Limits | None = None, label: str = "") -> None:
        """A shaded rectangle, as high as the axes unless y says how high."""
        low, high = y or self.ylim
        self.area([(x[0], low), (x[1], low), (x[1], high), (x[0], high)], label=label)

    def dots(
        self, points: Iterable[XY], marker: str = "o", colour: str = BLUE, size: float = 7, face: str = "", alpha: float = 1.0, label: str = ""
    ) -> None:  # fmt: skip
        """A marker at each point within the limits."""
        for x, y in (self.at(*p) for p in points):
            if self.left - 1 <= x <= self.right + 1 and self.top - 1 <= y <= self.bottom + 1:
                self.canvas.marker((x, y), marker, colour, size, face, alpha)
                self.marked.append(((x, y), size))
        self._key(label, lambda at: self.canvas.marker((at[0] + SIGN / 2, at[1]), marker, colour, min(size, 10), face, alpha))

    def _key(self, label: str, sign: Callable[[XY], None]) -> None:
        """A sign joins the legend's entry, a line under its marker; other axes with the same label add nothing."""
        owner, signs = self.canvas.key.setdefault(label, (self, [])) if label else (None, [])
        if owner is self:
            signs.append(sign)

    def title(self, text: str, colour: str = MUTED, longest: int = 40, left: float | None = None) -> None:
        self.canvas.text((self.left if left is None else left, self.top - 7), text, colour, size=11.5, longest=longest)

    def names(self, x: str, y: str = "", longest: int = 80) -> None:
        """What the axes say."""
        self.canvas.text(((self.left + self.right) / 2, self.bottom + 34), x, side="center", size=11.5, longest=longest)
        if y:
            at = self.left - 46, (self.top + self.bottom) / 2
            self.canvas.text(at, y, side="center", size=11.5, longest=longest, turn=f' transform="rotate(-90 {at[0]:.2f} {at[1]:.2f})"')


def draw(name: str, width: int, height: int, paint: Callable[[Canvas], None]) -> str:
    """The SVG element of one figure, about 3-15 kB."""
    canvas = Canvas(name, width, height)
    paint(canvas)
    canvas.legend()
    defs = "".join(shape.replace('id="@"', f'id="{key}"', 1) for shape, key in canvas.ids.items())
    body = "".join(canvas.shapes)
    return f'<svg class="plot" viewBox="0 0 {width} {height}" aria-hidden="true"><defs>{defs}</defs>{body}</svg>'


def flow(labels: Sequence[str], width: int, longest: int = 40) -> list[tuple[float, int]]:
    """Left edge and row of each entry of a legend."""
    out, x, row = [], 0.0, 0
    for label in labels:
        wide = SIGN + 7 + LETTER * columns(clipped(label, longest))
        if x and x + wide > width:
            x, row = 0.0, row + 1
        out.append((x, row))
        x += wide + APART
    return out


def _style(style: str) -> str:
    return f'style="{style}"'


def columns(text: str) -> int:
    """The width of a text in letters; those of East Asian scripts count twice.

    >>> columns("ab"), columns("日本")
    (2, 4)
    """
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def apart(texts: Sequence[str], longest: int) -> list[str]:
    """Texts of at most `longest` columns. Those that would read the same when cut at the end are cut in the middle, else at the start.

    >>> apart(["alpha=0.1 balance=0", "alpha=0.1 balance=0.5", "short"], 12)
    ['alpha=…nce=0', 'alpha=…e=0.5', 'short']
    """
    out = [clipped(t, longest) for t in texts]
    for head in (longest // 2, 0):
        seen = [(o, t) for o, t in dict.fromkeys(zip(out, texts))]
        same = {t for o, t in seen if sum(o == other for other, _ in seen) > 1}
        out = [_middle(t, head, longest) if t in same and columns(t) > longest else o for o, t in zip(out, texts)]
    return out


def _middle(text: str, head: int, longest: int) -> str:
    """The first `head` columns or less, and as much of the end as fits."""
    start = clipped(text, head + 1) if head else "…"
    return start + clipped(text[::-1], longest - columns(start) + 1)[:-1][::-1]


def clipped(text: str, longest: int) -> str:
    """A text of at most `longest` columns.

    >>> clipped("abcdef", 4), clipped("日本語", 5)
    ('abc…', '日本…')
    """
    if columns(text) <= longest:
        return text
    while text and columns(text) > longest - 1:
        text = text[:-1]
    return f"{text}…"
