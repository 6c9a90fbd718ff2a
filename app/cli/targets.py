"""Where videos go: a file, a folder or a pattern, decided before anything is bought and never over another file."""

import os
import re
from collections import Counter
from pathlib import Path

from app.domain.errors import SettingsError

BY_NAME = "{name}.mp4"
_FIELD = re.compile(r"\{(\w*)\}")
_FIELDS = ("name", "n", "id")
_UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|]+')


class Target:
    """Where the videos of one command go."""

    def __init__(self, out: str | None, *, stems: list[str | None], force: bool) -> None:
        """Raise SettingsError unless every video has a place of its own that may be written."""
        self.force = force
        self._stems = stems
        self._pattern = _pattern(out, count=len(stems))
        self._refuse_shared()
        for number in range(len(stems)):
            if (path := self._known(number)) is not None:
                self._refuse_taken(path)
        _prepare(Path(self._pattern).parent)

    def path(self, number: int, *, job_id: str) -> Path:
        """Return the path of the video with this number, counted from 0."""
        return Path(self._filled(number, job_id))

    def _filled(self, number: int, job_id: str) -> str:
        stem = _UNSAFE.sub("_", self._stems[number] or "").strip(". ") or job_id
        return _FIELD.sub(lambda found: {"name": stem, "n": str(number + 1), "id": job_id}[found[1]], self._pattern)

    def _known(self, number: int) -> Path | None:
        """Return the path if it can be told without the job's id."""
        filled = self._filled(number, "\0")
        return None if "\0" in filled else Path(filled)

    def _refuse_shared(self) -> None:
        counted = Counter(path for number in range(len(self._stems)) if (path := self._known(number)) is not None)
        if shared := [path for path, times in counted.items() if times > 1]:
            raise SettingsError(
                f"Several videos would be written to {shared[0]}. Number them: -o '{Path(self._pattern).parent}/"
                f"{{n}}-{{name}}.mp4'."
            )

    def _refuse_taken(self, path: Path) -> None:
        if path.is_dir():
            raise SettingsError(f"{path} is a folder. End it with a slash to have videos put into it.")
        if path.exists() and not self.force:
            raise SettingsError(f"{path} exists. Choose another name with -o, or overwrite it with --force.")


def _pattern(out: str | None, *, count: int) -> str:
    if out is None:
        return BY_NAME
    if out.endswith(("/", os.sep)) or Path(out).is_dir():
        return str(Path(out) / BY_NAME)
    for field in _FIELD.findall(out):
        if field not in _FIELDS:
            raise SettingsError(f"-o {out}: {{{field}}} is unknown. There are {{name}}, {{n}} and {{id}}.")
    if _FIELD.search(str(Path(out).parent)):
        raise SettingsError(f"-o {out}: only the file's name may hold {{name}}, {{n}} or {{id}}, not its folder.")
    if count > 1 and not _FIELD.search(out):
        raise SettingsError(
            f"-o {out} is one file for {count} videos. Give a folder (-o videos/) or -o '{{name}}.mp4'."
        )
    return out


def _prepare(folder: Path) -> None:
    """Make the folder, and see that it can be written: later it would be too late."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {folder} cannot be made ({error.strerror}).") from None
    if not os.access(folder, os.W_OK):
        raise SettingsError(f"The folder {folder} cannot be written. Choose another with -o.")
