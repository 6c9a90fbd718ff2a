"""Decoders as a hostile file might have them: real children in their cage, with a task of the file's choice."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.domain.errors import MediaError
from app.media import child, clips, images, video
from app.media.child import Decoded, Limits

LIMITS = Limits(cpu_seconds=1, wall_seconds=3, memory_bytes=256 << 20, output_bytes=1 << 20)
DEEDS = ["die", "spin", "sleep", "hoard", "shout", "breed", "answer_nonsense"]
"""A crash, an endless loop, endless waiting, and too much memory, output and offspring."""


def take_over(patch: pytest.MonkeyPatch, deed: str) -> None:
    """From now on whatever is decoded does this deed of `hostile.py`, within smaller limits: a test has less time."""

    async def decode(
        task: str,
        *,
        source: bytes | Path,
        limits: Limits,
        refusal: type[MediaError],
        arguments: Mapping[str, object] | None = None,
        facts_suffice: bool = False,
    ) -> Decoded:
        del task, limits, arguments
        roots = [str(Path(__file__).parent)]
        return await child.decode(
            f"hostile:{deed}", source=source, limits=LIMITS, refusal=refusal, roots=roots, facts_suffice=facts_suffice
        )

    for module in (images, clips, video):
        patch.setattr(module, "decode", decode)
