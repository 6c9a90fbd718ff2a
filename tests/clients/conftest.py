"""Real clients, each in an environment of its own that `make test-clients` builds with the newest versions."""

from tests.acceptance.conftest import server

__all__ = ["server"]
