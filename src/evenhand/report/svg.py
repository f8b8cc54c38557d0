"""The old place of `figures`."""

from evenhand.report.figures import (  # noqa: F401
    BAND,
    BLUE,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    RULE,
    STYLE,
    Canvas,
    draw,
)
