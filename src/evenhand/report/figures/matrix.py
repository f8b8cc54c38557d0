"""The figure of who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evenhand.report.figures import BLUE, GREY, INK, ORANGE, PAPER, Canvas, draw
from evenhand.report.figures.axes import row_labels

MARKS = {  # verdict of the row against the column → marker, colour, filled, size
    "dominates clearly": ("^", BLUE, True, 9), "dominates": ("^", BLUE, False, 9), "trades": ("D", INK, False, 6), "undecided": ("o", GREY, True, 2.5),
    "is dominated": ("v", ORANGE, False, 9), "is dominated clearly": ("v", ORANGE, True, 9),
}  # fmt: skip


def matrix(
    names: Sequence[str], rows: Sequence[int], columns: Sequence[int], verdicts: Mapping[tuple[int, int], str], marked: int, width: int
) -> str:
    """The verdict of each row against each column, a sign each. rows, columns, marked: places in `names`, which number them; verdicts: (row,
    column) → words.
    """
    seen = [v for v in MARKS if v in {verdicts.get((r, c)) for r in rows for c in columns}]
    is_narrow = width < 500
    head = 26 + 18 * ((len(seen) + 1) // 2 if is_narrow else 1)
    left, each = (132, 30.0) if is_narrow else (230, 40.0)
    each = min((width - left - 8) / len(columns), each)

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(left, width - left - each * len(columns), head, 8, (-0.5, len(columns) - 0.5), (len(rows) - 0.5, -0.5))
        for y, r in enumerate(rows):
            if r == marked:
                axes.band(axes.xlim, (y + 0.5, y - 0.5))
            axes.line([(axes.xlim[0], y + 0.5), (axes.xlim[1], y + 0.5)], GREY, 0.5, alpha=0.4)
        for verdict in seen:
            marker, colour, filled, size = MARKS[verdict]
            at = [(x, y) for y, r in enumerate(rows) for x, c in enumerate(columns) if verdicts.get((r, c)) == verdict]
            size = size * 0.72 if each < 16 and size > 3 else size
            axes.dots(at, marker, colour, size, "" if filled else PAPER, label=verdict)
        row_labels(axes, [f"{r + 1}  {names[r]}" for r in rows], longest=30)
        for x, c in enumerate(columns):
            at_top = axes.at(x, -0.5)[0], axes.top - 6
            canvas.text(at_top, str(c + 1), side="center", size=8.5 if is_narrow and len(columns) > 8 else 11)

    return draw("pairwise", width, head + 8 + 25 * len(rows), paint)
