"""Numbers as people read them."""

from __future__ import annotations


def figures(value: float | None, significant: int = 3) -> str:
    """A number in some significant figures without an exponent; – for None.

    >>> figures(0.98765), figures(1234.5), figures(3.0), figures(0.00012, 2), figures(None)
    ('0.988', '1,234', '3', '0.00012', '–')
    """
    if value is None:
        return "–"
    if abs(value) >= 10 ** (significant - 1):
        return f"{value:,.0f}"
    text = f"{value:.{significant}g}"
    return f"{float(text):f}".rstrip("0") if "e" in text else text
