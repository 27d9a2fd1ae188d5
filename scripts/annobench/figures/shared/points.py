"""Points with the intervals that a table gives, drawn by seaborn, which computes none of its own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import seaborn as sns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from annobench.figures.shared.style import PointLook


def point_intervals(
    axes: "Axes",
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    orient: str = "y",
    hue: str | None = None,
    looks: "Mapping[str, PointLook] | None" = None,
    dodge: float | bool = False,
    size: float = 4.5,
    width: float = 1.3,
    linestyle: str = "none",
    zorder: float = 3,
    **more: object,
) -> None:
    """Draw points, and lines from the column `low` to the column `high`.

    Parameters
    ----------
    table
        A row per point. One without a value is left out; one without an interval has none.
    x, y
        Columns; that along `orient` holds places (numbers), the other one values.
    hue, looks
        The column that tells the looks of a point, and each of its levels -> `color` and `marker` (and `linestyle`),
        in the order in which they are drawn.
    dodge
        How far points of one place are spread, from the first level of `hue` to the last.
    size, width
        Of points and of lines of intervals, in points.
    zorder
        Of points; intervals are just below them.
    more
        Keyword arguments of matplotlib for points, and for the lines between them.
    """
    value = x if orient == "y" else y
    known = table.dropna(subset=[value])
    if hue is not None and looks is not None:
        known = known[known[hue].isin(list(looks))]
    if known.empty:
        return
    ends = [known.assign(**{value: known[end].fillna(known[value])}) for end in ("low", "high")]
    if looks is not None:
        more |= {"hue": hue, "hue_order": list(looks), "palette": {name: look["color"] for name, look in looks.items()}}
        more["markers"] = [look["marker"] for look in looks.values()]
        more["linestyles"] = [look.get("linestyle", "-") if linestyle != "none" else "" for look in looks.values()]
    else:
        more |= {"linestyle": linestyle}
    more = {"zorder": zorder, "markeredgewidth": 1, **more}
    labels = axes.get_xlabel(), axes.get_ylabel()
    sns.pointplot(
        pd.concat([known, *ends], ignore_index=True), x=x, y=y, ax=axes, orient=orient, native_scale=True, dodge=dodge,
        estimator=_value, errorbar=_interval, markersize=size, legend=False,
        err_kws={"linewidth": width, "zorder": zorder - 0.5}, **more,
    )  # fmt: skip
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])


def _value(three: "pd.Series[float]") -> float:
    return float(three.iloc[0])


def _interval(three: "pd.Series[float]") -> tuple[float, float]:
    return float(three.iloc[1]), float(three.iloc[2])
