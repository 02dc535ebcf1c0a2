"""A score's distributions drawn: one small histogram a language, all on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arbitrage.infra.report.distributions import Distribution, Spread
from arbitrage.infra.report.figures import figures
from arbitrage.infra.report.scales import BINS
from arbitrage.infra.report.svg import INK, LINE, MARK, SOFT, box, drawing, words

_LABEL, _PLOT, _MEDIAN, _COUNT = 58, 160, 56, 62
_ROW, _BAR = 28, 22
_TOP = 18
_BIN = _PLOT / BINS
# Light grey-blue on both grounds; the chosen lie over it in the colour of what is kept.
_ALL = "var(--every,#b4c3cf)"


def histogram(of: Distribution) -> str:
    """The distributions of one score as SVG: all answers light, the chosen ones of them dark."""
    width, foot = _LABEL + _PLOT + _MEDIAN + _COUNT, _TOP + _ROW * len(of.spreads)
    parts = [
        words(_LABEL + _PLOT + _MEDIAN, 8, "median", anchor="end", fill=SOFT),
        words(width, 8, "answers", anchor="end", fill=SOFT),
    ]
    for place, spread in enumerate(of.spreads):
        parts += _row(spread, of, _TOP + place * _ROW)
    ends = ((_LABEL, "start", of.low), (_LABEL + _PLOT, "end", of.high))
    parts += [words(x, foot + 12, figures(end), anchor=at, fill=SOFT) for x, at, end in ends]
    return drawing(width, foot + 16, parts, f"{of.measure} by language")


def said(of: Distribution) -> str:
    """What a reader has to know of one drawing."""
    chosen = "Answers are chosen by it. " if of.objective else ""
    some = len(of.spreads)
    most = f"Shown are the {some} languages of {of.languages} with the most answers. "
    return (chosen + (most if some < of.languages else "")).strip()


def _row(spread: Spread, of: Distribution, y: float) -> Iterator[str]:
    bottom, tag = y + _BAR, spread.language
    yield words(0, bottom - 6, tag if len(tag) <= 8 else f"{tag[:7]}…")
    yield box(_LABEL, bottom, _PLOT, 1, LINE)
    highest = max(spread.every)
    for counts, fill in ((spread.every, _ALL), (spread.chosen, MARK)):
        if path := _bars(counts, highest, bottom):
            yield f'<path d="{path}" style="fill:{fill}"/>'
    if spread.median is not None:
        span = of.high - of.low
        share = min(max((spread.median - of.low) / span, 0.0), 1.0) if span else 0.5
        yield box(_LABEL + share * _PLOT - 0.75, bottom - _BAR, 1.5, _BAR + 3, INK)
    yield words(_LABEL + _PLOT + _MEDIAN, bottom - 6, figures(spread.median), anchor="end")
    yield words(
        _LABEL + _PLOT + _MEDIAN + _COUNT, bottom - 6, _answers(spread), anchor="end", fill=SOFT
    )


def _bars(counts: Sequence[int], highest: int, bottom: float) -> str:
    """Bars of one path; what is there is at least a pixel high."""
    return "".join(
        f"M{_LABEL + place * _BIN:g} {bottom:g}v-{max(1.0, _BAR * count / highest):.3g}"
        f"h{_BIN - 0.5:g}V{bottom:g}z"
        for place, count in enumerate(counts)
        if count
    )


def _answers(spread: Spread) -> str:
    if not spread.abstained:
        return f"{spread.measured:,}"
    return f"{spread.measured:,} of {spread.measured + spread.abstained:,}"
