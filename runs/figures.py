"""The two figures of docs/results/dsp_experiments.md: accuracy by support, and user states on a plane; SVG on white, the same numbers the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np

INK, RULE, BAR = "#222222", "#cccccc", "#4c78a8"
TASTES = {"academy": "#4c78a8", "business": "#e08214", "entertainment": "#3a9a5b", "literature": "#b0508e"}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evenhand",
    "path.simplify": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": RULE,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


def drawn(rows: int, columns: int, size: tuple[float, float], paint: Callable[[Any], None], **shared: bool) -> str:
    """The SVG of rows x columns panels; paint(axes [rows, columns])."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=size, facecolor="white", layout="constrained")
        paint(figure.subplots(rows, columns, squeeze=False, **shared))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<!--.*?-->\s*", "", file.getvalue(), flags=re.S)
    short = re.sub(r'="[^"]*"', lambda m: re.sub(r"(\d+\.\d)\d+", r"\1", m[0]), text)  # attributes to a tenth of a pixel; words stay
    return re.sub(r" +\n", "\n", short)


def by_support(models: dict[str, Any]) -> str:
    """One panel a model: bars of accuracy over bins of equally many users, lowest support first, with 95 % intervals."""

    def paint(axes: Any) -> None:
        for ax, (title, found) in zip(axes.flat, models.items()):
            bins = found["measured"]["bins"]
            value, low, high = (100 * np.array([b["accuracy"][k] for b in bins]) for k in ("value", "low", "high"))
            ax.bar(np.arange(1, len(bins) + 1), value, color=BAR, width=0.8)
            ax.vlines(np.arange(1, len(bins) + 1), low, high, color=INK, linewidth=1)
            r = found["measured"]["correlation"]
            ax.set_title(f"{title}: rho {r['value']:.2f}", fontsize=9, loc="left")
            ax.set_ylim(50, 85)
            ax.set_xticks([1, len(bins)], ["lowest", "highest"])
            ax.tick_params(length=0)
        for ax in axes.flat[len(models) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("accuracy, %")

    columns = 4
    rows = -(-len(models) // columns)
    return drawn(rows, columns, (9, 0.4 + 1.9 * rows), paint, sharey=True)


def on_a_plane(states: dict[str, Any], domains: tuple[str, ...]) -> str:
    """One panel a model: unseen users' states on their first two principal components, coloured by the domain they like."""
    domain = np.array(states["domain"])

    def paint(axes: Any) -> None:
        for ax, (title, found) in zip(axes.flat, states["points"].items()):
            xy = np.array(found["xy"])
            for d, name in enumerate(domains):
                at = xy[domain == d]
                rare = d == states["run"][0]
                # A dot is a line of no length with round ends: a tenth of a marker's bytes.
                x, y = (np.stack([at[:, k], at[:, k], np.full(len(at), np.nan)], 1).ravel() for k in (0, 1))
                ax.plot(x, y, color=TASTES[name], linewidth=5.5 if rare else 3, solid_capstyle="round", zorder=3 if rare else 2)
                ax.plot([], [], "o", color=TASTES[name], markersize=7 if rare else 4, label=f"{name} (minority)" if rare else name)
            ax.set_title(f"{title}: {100 * found['held']:.0f} % of the variance", fontsize=9, loc="left")
            ax.set_xticks([])
            ax.set_yticks([])
        axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)

    return drawn(1, len(states["points"]), (9, 4.2), paint)
