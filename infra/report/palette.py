"""Cividis: colours that a reader with any colour vision puts in the same order, and greys do too.

Source: Nunez, Anderton and Renslow 2018, "Optimizing colormaps with consideration for color vision
deficiency"; ten of its stops, between which colours are mixed.
"""

from __future__ import annotations

# From dark, which is little, to light.
_STOPS = ["00204d", "00336f", "39486b", "575c6d", "707173", "8a8779", "a69d75", "c4b56c"]
_STOPS += ["e4cf5b", "ffea46"]
_DARK, _LIGHT = "#000000", "#ffffff"


def cividis(share: float) -> str:
    """The colour of 0 (dark blue) to 1 (yellow); what is beyond is drawn as the end.

    >>> cividis(0.0), cividis(0.05), cividis(7.0)
    ('#00204d', '#00295c', '#ffea46')
    """
    place = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(place), len(_STOPS) - 2)
    pairs = zip(_channels(_STOPS[low]), _channels(_STOPS[low + 1]), strict=True)
    mixed = [round(a + (b - a) * (place - low)) for a, b in pairs]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read better on a colour."""
    return max(_DARK, _LIGHT, key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by WCAG 2.1: 1 to 21, and 4.5 for text of usual size.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(colour.removeprefix("#")))
    ]
    return sum(
        weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


def _channels(digits: str) -> list[int]:
    return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
