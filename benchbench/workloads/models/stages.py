"""Base of networks of three stages, each at half the resolution of the one before."""

from __future__ import annotations

SMALLEST_IMAGE = 8
"""Side in pixels; the last stage works at a quarter of it, and batch norm needs more than one pixel there."""


def require_room_for_stages(image_size: int) -> None:
    """Refuse images that are too small to be halved twice.

    Raises:
        ValueError: They are.
    """
    if image_size < SMALLEST_IMAGE:
        raise ValueError(
            f"a network of three stages needs images of at least {SMALLEST_IMAGE}x{SMALLEST_IMAGE} pixels "
            f"(got image_size {image_size})"
        )


def blocks_per_stage(depth: int, *, layers_around: int) -> int:
    """Return n of a depth 6 n + layers_around: three stages of n blocks with two convolutions each.

    Raises:
        ValueError: The depth is of another form.
    """
    blocks, rest = divmod(depth - layers_around, 6)
    if rest or blocks < 1:
        nearest = layers_around + 6 * max(1, round((depth - layers_around) / 6))
        raise ValueError(f"the depth must be 6 n + {layers_around}, such as {nearest} (got {depth})")
    return blocks
