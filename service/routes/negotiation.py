"""Which of several content types the Accept header of a request likes best."""

from collections.abc import Sequence

from service.body import JSON, NPY
from service.errors import NotAcceptable


def negotiate(accept: str, media: Sequence[str] = (JSON, NPY)) -> str:
    """Whichever of `media` the Accept header likes best, the first on a tie. Raises NotAcceptable."""
    offers = dict.fromkeys(media, 0.0)
    # Less specific ranges first, so that a specific one overrides them (application/x-npy;q=0, */*).
    for wanted, quality in sorted(_ranges(accept), key=lambda r: r[0].count("*"), reverse=True):
        for offer in offers:
            if wanted in ("*/*", f"{offer.split('/')[0]}/*", offer):
                offers[offer] = quality
    best = max(offers, key=lambda offer: offers[offer])
    if offers[best] <= 0:
        raise NotAcceptable(f"this can be had as {' or '.join(media)}")
    return best


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Media ranges and their q of an Accept header; unreadable q count as 1."""
    ranges = []
    for part in accept.split(",")[:32]:
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        ranges.append((media, float(quality) if quality.replace(".", "", 1).isdigit() else 1.0))
    return ranges
