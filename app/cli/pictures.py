"""What stands for an image, a video or a sound on the command line: a path, a link, a data URI or a file's id."""

import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote, urlsplit

from app.cli.service import Part
from app.domain.errors import SettingsError

LARGEST_BYTES = 32 << 20
"""The largest body that the service takes."""
_LINK = re.compile(r"https?://", re.IGNORECASE)
_FILE_ID = re.compile(r"file_[0-9a-zA-Z]+")


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, video or sound of the command line. `label` is for people, `stem` for the video's file name."""

    label: str
    stem: str | None
    part: Part


def read(word: str) -> Picture:
    """Return the picture that `word` means; raise SettingsError if there is none."""
    if word[:5].lower() == "data:":
        return Picture("(data)", None, text(_kind(word[5:]), word))
    if _LINK.match(word):
        name = PurePosixPath(unquote(urlsplit(word).path))
        label = word if len(word) <= 40 else f"{word[:39]}…"
        return Picture(label, name.stem or None, text(_kind_of_name(name), word))
    path = Path(word)
    if _FILE_ID.fullmatch(word) and not path.exists():
        return Picture(word, None, text("image", word))
    return Picture(path.name, path.stem, attached(_kind_of_name(path), path))


def _kind_of_name(path: PurePath) -> str:
    return _kind(mimetypes.guess_type(path.name)[0] or "")


def _kind(content_type: str) -> str:
    """Return the short name of the parameter that media of this type go to."""
    kind = content_type.partition("/")[0].lower()
    return kind if kind in ("video", "audio") else "image"


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
