"""Geometry of an embedding, whatever the labels: how many of its dimensions are in use."""

from collections.abc import Iterator

from annobench.fit.embedding_checks import Geometry
from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row

METRICS = [
    Metric(
        name="effective_rank",
        label="effective rank",
        meaning="dimensions in use: exp of the entropy of the singular values of the centred embedding (Roy 2007)",
        low=0,
        high=INFINITE,
        best=None,
    ),
    Metric(
        name="collapsed_dimensions",
        label="collapsed dimensions",
        meaning="dimensions whose standard deviation is below a millionth of the largest one",
        low=0,
        high=INFINITE,
        best=None,
    ),
    Metric(
        name="dimensions",
        label="dimensions",
        meaning="columns of the embedding",
        low=1,
        high=INFINITE,
        best=None,
    ),
]


def compute(found: Evidence) -> Iterator[Row]:
    """Of the tested cells; an effective rank of two cells or more, and where it is not too wide to be computed."""
    values = found.embedding
    geometry = Geometry.of(values)
    numbers: dict[str, float] = {
        "collapsed_dimensions": geometry.collapsed_dimensions,
        "dimensions": geometry.dimensions,
    }
    if geometry.cells < 2:
        del numbers["collapsed_dimensions"]
    elif geometry.effective_rank is not None:
        numbers["effective_rank"] = geometry.effective_rank
    for name in sorted(numbers):
        yield Row("geometry", name, "-", "overall", "all", float(numbers[name]), geometry.cells)


FAMILY = Family("geometry", tuple(METRICS), needs=("embedding", "labels"), compute=compute, order=19, on_request=True)
