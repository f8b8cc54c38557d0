"""A matplotlib figure → inline SVG that follows the page: its colours are CSS variables, its text is the page's text.

Labels that a user wrote never pass through matplotlib. It draws a token instead, and the escaped label replaces the
token afterwards: no mathtext, no missing glyphs, no markup. Nothing here reads or leaves behind global settings
(the user's own matplotlib style included), and the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

# Stand-ins that matplotlib can draw with; the page's style sheet holds a light and a dark value of each variable.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
BLUE, ORANGE, GREY, BAND, PAPER = "#040404", "#050505", "#060606", "#070707", "#080808"
VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", BLUE: "blue", ORANGE: "orange", GREY: "grey", BAND: "band", PAPER: "paper"}

STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "evenhand", "text.usetex": False, "text.parse_math": False, "hatch.linewidth": 0.7,
    "font.size": 11.5, "axes.labelsize": 11.5, "xtick.labelsize": 11, "ytick.labelsize": 11, "legend.fontsize": 11,
    "text.color": INK, "axes.labelcolor": MUTED, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "xtick.color": RULE, "ytick.color": RULE, "axes.edgecolor": RULE, "axes.facecolor": "none", "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": RULE, "grid.linewidth": 0.6, "grid.alpha": 0.55,
    "xtick.major.size": 0, "ytick.major.size": 0, "xtick.major.pad": 6, "ytick.major.pad": 6,
    "legend.frameon": False, "legend.handlelength": 1.6, "legend.columnspacing": 1.4, "legend.handletextpad": 0.5, "legend.borderaxespad": 0,
    "lines.solid_capstyle": "round", "lines.dash_capstyle": "butt",
}  # fmt: skip


@dataclass
class Canvas:
    """What a plot draws on: a figure of `width` x `height` CSS pixels, and the labels that stand behind its tokens."""

    figure: Any
    width: int
    height: int
    labels: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_narrow(self) -> bool:
        return self.width < 500

    def axes(self, left: float, right: float, top: float, bottom: float, **kw: Any) -> Any:
        """Axes between margins in pixels. Fixed margins: nothing depends on how wide a font measures a text."""
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, 1 - (left + right) / self.width, 1 - (top + bottom) / self.height), **kw
        )

    def token(self, label: str, longest: int = 28) -> str:
        """The stand-in of a label; the label is shown clipped to `longest` columns, in full on hovering."""
        self.labels.append((label, longest))
        return f"@{len(self.labels) - 1}@"

    def words(self, text: str) -> str:
        """A text with its tokens replaced by what will be shown."""
        return re.sub(r"@(\d+)@", lambda m: clipped(*self.labels[int(m[1])]), text)


def draw(name: str, width: int, height: int, paint: Callable[[Canvas], None]) -> str:
    """The SVG element of one figure, about 5-15 kB. `name` prefixes its ids, which are unique on the page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # the user's own style must not leak in
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        canvas = Canvas(Figure(figsize=(width / 72, height / 72), facecolor="none"), width, height)
        paint(canvas)
        file = io.StringIO()
        canvas.figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(file.getvalue(), f"{name}-{width}", canvas)


def _inline(text: str, name: str, canvas: Canvas) -> str:
    """The file's `svg` element, made part of the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)  # matplotlib repeats every text there
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<svg[^>]*>", f'<svg class="plot" viewBox="0 0 {canvas.width} {canvas.height}" aria-hidden="true">', text, count=1)
    text = text.replace("xlink:href", "href")
    used = set(re.findall(r"(?:href=\"#|url\(#)([\w.-]+)", text))
    text = re.sub(r'\s?\bid="([\w.-]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"#(?:0([1-8]))(?:0\1){2}", lambda m: f"var(--{VARIABLES[m[0]]})", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's own
    text = re.sub(r'<path [^>]*style="fill: none"/>|<g/>|<defs></defs>', "", text)  # nothing to see
    text = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", text)
    text = re.sub(r"(?<=[\s\"(,])(-?\d+\.\d{2})\d+", r"\1", text)
    text = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", text))
    return re.sub(r"@(\d+)@", lambda m: _label(*canvas.labels[int(m[1])]), text).strip()


def _label(label: str, longest: int) -> str:
    shown = clipped(label, longest)
    return escape(shown) if shown == label else f"<title>{escape(label)}</title>{escape(shown)}"


def columns(text: str) -> int:
    """The width of a text in letters; those of East Asian scripts count twice.

    >>> columns("ab"), columns("日本")
    (2, 4)
    """
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


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
