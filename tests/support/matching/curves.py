"""Draw the curves of docs/reference/matching.svg: python -m tests.support.matching.curves"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.support.matching.evaluation import Evaluation, evaluation

PLACE: Final = Path(__file__).parents[3] / "docs" / "reference" / "matching.svg"
WIDTH, HEIGHT, LEFT, TOP = 640, 420, 70, 24
"""Of the picture, and where the axes begin, in pixels."""
RECALL, PRECISION = (0.90, 1.0), (0.95, 1.0)
"""The parts of the axes that are shown."""
CURVES: Final = (
    ("FEBRL 3", "#0b6e99", "", "febrl3", True),
    ("FEBRL 3 without identifier", "#0b6e99", "5 4", "febrl3", False),
    ("FEBRL 4", "#b3541e", "", "febrl4", True),
    ("FEBRL 4 without identifier", "#b3541e", "5 4", "febrl4", False),
    ("twins, households, spellings", "#4a7c2c", "", "hard20260", True),
)


def drawn() -> str:
    """The picture, the same every time."""
    parts = [*_axes()]
    for number, (name, colour, dashes, data, identifiers) in enumerate(CURVES):
        points = " ".join(_points(evaluation(data, identifiers=identifiers)))
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes or "none"}"'
        parts.append(f'<polyline fill="none" {stroke} points="{points}"/>')
        y = TOP + 190 + 20 * number
        parts.append(f'<line x1="{LEFT + 20}" x2="{LEFT + 50}" y1="{y}" y2="{y}" {stroke}/>')
        parts.append(f'<text x="{LEFT + 58}" y="{y + 4}">{name}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    title = "<title>Precision and recall of matching by threshold</title>"
    back = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    return "\n".join([f"{head} {style}>", title, back, *parts, "</svg>", ""])


def _points(found: Evaluation) -> Iterator[str]:
    """Of the curve, as far as shown; runs of one precision by their ends."""
    shown: list[str] = []
    for recall, precision in found.curve():
        if recall >= RECALL[0] and precision >= PRECISION[0]:
            point = f"{_x(recall):.1f},{_y(precision):.1f}"
            if not shown or shown[-1] != point:
                shown.append(point)
    yield from _thinned(shown)


def _thinned(points: Sequence[str]) -> Iterator[str]:
    heights = [point.partition(",")[2] for point in points]
    for number, point in enumerate(points):
        inside = 0 < number < len(points) - 1
        if not (inside and heights[number - 1] == heights[number] == heights[number + 1]):
            yield point


def _axes() -> Iterator[str]:
    right, bottom = _x(RECALL[1]), _y(PRECISION[0])
    frame = f'x="{LEFT}" y="{TOP}" width="{right - LEFT:.0f}" height="{bottom - TOP:.0f}"'
    yield f'<rect {frame} fill="none" stroke="#999"/>'
    for step in range(6):
        recall = RECALL[0] + step * (RECALL[1] - RECALL[0]) / 5
        precision = PRECISION[0] + step * (PRECISION[1] - PRECISION[0]) / 5
        x, y = _x(recall), _y(precision)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom:.1f}" stroke="#eee"/>'
        yield f'<line x1="{LEFT}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{recall:.2f}</text>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{precision:.2f}</text>'
    yield f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">recall</text>'
    turned = f"translate(18 {(TOP + bottom) / 2:.0f}) rotate(-90)"
    yield f'<text transform="{turned}" text-anchor="middle">precision</text>'


def _x(recall: float) -> float:
    share = (recall - RECALL[0]) / (RECALL[1] - RECALL[0])
    return LEFT + share * (WIDTH - LEFT - 24)


def _y(precision: float) -> float:
    share = (precision - PRECISION[0]) / (PRECISION[1] - PRECISION[0])
    return TOP + (1 - share) * (HEIGHT - TOP - 60)


if __name__ == "__main__":
    PLACE.write_text(drawn())
