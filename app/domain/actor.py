"""Who changes something: a caller in one request, or an operator on the host."""

from dataclasses import asdict, dataclass
from typing import Any

LONGEST_ADDRESS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, for the record of what they change."""

    key_id: str | None = None
    """The key; for a client token the one that minted it."""
    token_id: str | None = None
    subject: str | None = None
    request_id: str | None = None
    """As the answer told it. A caller may have chosen it."""
    address: str | None = None
    """The other end of the connection, or what a trusted proxy says of it."""
    on_host: bool = False
    """An operator at the command line of the service's host: there is neither key nor request."""
    by_itself: bool = False
    """The service, which decided without anybody's asking."""

    def facts(self) -> dict[str, Any]:
        """Return what is known, as it is stored."""
        return {name: value for name, value in asdict(self).items() if value}


ON_THE_HOST = Actor(on_host=True)
BY_ITSELF = Actor(by_itself=True)
