"""Quality and cost in one picture: HR@20 and MRR@20 against microseconds per query."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.quality.scenarios import label

HEAD = """
<title>Quality against cost</title>
<desc>HR@20 and MRR@20 of every source that was timed and of the ranked whole, against the microseconds of
processor time that a query costs. The table beside it has the numbers.</desc>
<style>@media (prefers-color-scheme:dark){svg{filter:invert(1) hue-rotate(180deg)}}</style>
"""
MEASURES = (("hr20", "HR@20, %"), ("mrr20", "MRR@20, %"))


def draw(report: dict[str, Any], path: Path) -> None:
    """An SVG with a point for everything that was timed; bars are 95 % intervals and the 90th percentile of
    the cost. The same report gives the same bytes. Needs matplotlib (the extra ``plots``)."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = path.name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for axis, (measure, title) in zip(axes, MEASURES, strict=True):
        for name, cost in report["costs_us"].items():
            result = report["results"][name]
            value, (low, high) = result[measure], result[f"{measure}_interval"]
            axis.errorbar(
                cost["p50"], value,
                xerr=[[0.0], [max(cost["p90"] - cost["p50"], 0.0)]],
                yerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]],
                fmt="o", capsize=2,
            )  # fmt: skip
            axis.annotate(
                label(name), (cost["p50"], value), textcoords="offset points", xytext=(5, 5), fontsize=8
            )
        axis.set_xscale("log")
        axis.margins(x=0.25, y=0.15)
        axis.set_xlabel("processor time a query, us (bar: to p90)")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    path.write_text(readable(path.read_text(encoding="utf-8")), encoding="utf-8")


def readable(svg: str) -> str:
    """The picture with a title and a description, turned over in the dark, without addresses."""
    svg = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")
    return re.sub(r"(<svg[^>]*>)", lambda found: found[0] + HEAD, svg, count=1)
