"""The upstream's texts made safe: cleaned, and without our key even where the upstream echoes it."""

from pydantic import SecretStr

from app.domain.text import MAX_LENGTH, clean

REDACTED = "[key]"


class Scrub:
    """Cleans a text and takes the key out of it. Called like `app.domain.text.clean`."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def __call__(self, text: object) -> str:
        # Before cleaning, because its length limit could leave the beginning of a key;
        # and after it, because removing characters could join the two halves of one.
        return self._redact(clean(self._redact(str(text))))[:MAX_LENGTH]

    def _redact(self, text: str) -> str:
        return text.replace(self._key.get_secret_value(), REDACTED)
