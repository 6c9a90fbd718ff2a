"""What stands for an image on the command line: a path, a link, a data URI or the id of an uploaded file."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from app.cli.service import Part
from app.settings import SettingsError

LARGEST_BYTES = 32 << 20
"""The largest body that the service takes."""
_LINK = re.compile(r"https?://", re.IGNORECASE)
_FILE_ID = re.compile(r"file_[0-9a-zA-Z]+")


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the command line. `label` is for people, `stem` for the video's file name."""

    label: str
    stem: str | None
    part: Part


def read(word: str) -> Picture:
    """Return the picture that `word` means; raise SettingsError if there is none."""
    if word[:5].lower() == "data:":
        return Picture("(data)", None, text("image_url", word))
    if _LINK.match(word):
        stem = PurePosixPath(unquote(urlsplit(word).path)).stem
        return Picture(word if len(word) <= 40 else f"{word[:39]}…", stem or None, text("image_url", word))
    path = Path(word)
    if _FILE_ID.fullmatch(word) and not path.exists():
        return Picture(word, None, text("image_url", word))
    return Picture(path.name, path.stem, attached("image", path))


def text(name: str, value: str) -> Part:
    """Return a text part of a form."""
    return name, (None, value.encode("utf-8", "surrogateescape"))


def attached(name: str, path: Path) -> Part:
    """Return a file part of a form; raise SettingsError if the file cannot be sent."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise SettingsError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB. Give a link to it instead.")
        return name, (path.name, path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from None
