"""The state behind the endpoints: one sandbox, with its memory, its clock, its faults and its account."""

import hashlib
import hmac
import math
import random
import re
import secrets
import uuid
from collections import Counter, deque
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from app.catalogue.catalogue import Catalogue, Model
from app.sandbox.answers import Refused
from app.sandbox.config import SandboxConfig
from app.sandbox.faults import FaultDesk
from app.sandbox.film import TINY, Order
from app.sandbox.framing import order_for
from app.sandbox.generations import Generation
from app.sandbox.prices import CREDITS_PER_MICRO_USD, Price
from app.sandbox.store import LogRow, Store
from app.sandbox.studio import Studio

_CREDITS_PER_USD = CREDITS_PER_MICRO_USD * 1_000_000
OUT_OF_CREDITS = "You have run out of credits. Please top up your balance."
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
CANONICAL = {"veo2/image-to-video": "google/veo2/image-to-video"}
"""Models listed under another id, with the one callers use as an alias: the documentation warns of that."""


class Sandbox:
    """One stand-in upstream."""

    def __init__(self, config: SandboxConfig, catalogue: Catalogue) -> None:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.catalogue = catalogue
        self.store = Store(config.data_dir / "sandbox.sqlite3")
        self.studio = Studio(config.data_dir, tiny=config.render == "tiny")
        self.rng = random.Random(config.seed)  # noqa: S311
        self.faults = FaultDesk(config.faults, rng=self.rng, tally=self.store.tally)
        self.requests: Counter[str] = Counter()
        self.prices = {model.id: Price(model) for model in catalogue.models.values()}
        self._log_reads: deque[float] = deque()
        self._load()

    def _load(self) -> None:
        self._ahead = self.store.recall("clock_ahead", 0.0)
        self.max_in_flight_seen = round(self.store.recall("max_in_flight_seen", 0))
        self._granted = self.store.recall("granted_credits", self.config.balance_usd * _CREDITS_PER_USD)
        self.store.note("granted_credits", self._granted)
        self._committed = self.store.spent_credits(math.inf)
        self._dry_until = 0.0
        self.began = self.store.recall("began", self.now)
        self.store.note("began", self.began)

    def close(self) -> None:
        self.studio.close()
        self.store.close()

    def reset(self) -> None:
        """Forget every generation, the log, the account's movements and the faults set at run time."""
        self.store.forget()
        self.faults.replace_odds(self.config.faults)
        self.faults.struck.clear()
        self.requests.clear()
        self._log_reads.clear()
        self._load()

    @property
    def now(self) -> float:
        return self.config.clock() + self._ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward: what was generating may be finished at once."""
        self._ahead += seconds
        self.store.note("clock_ahead", self._ahead)

    # --- who asks, for what

    def check_key(self, request: Request) -> None:
        """Raise Refused (401) unless the request carries one of the accepted keys."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not any(
            hmac.compare_digest(key.encode(), k.encode()) for k in self.config.keys
        ):
            raise Refused(401, "Unauthorized: the API key is missing, expired or invalid")

    def model(self, name: str) -> Model:
        """Return a model by id or alias; raise Refused (404) for neither."""
        found = self.catalogue.models.get(next((k for k, v in CANONICAL.items() if v == name), name))
        if found is None:
            raise Refused(404, f"Model {name[:200]!r} not found")
        return found

    def admit(self, price_credits: int) -> None:
        """Raise Refused at the concurrency limit (429) or when the account cannot pay (403)."""
        if self.store.in_flight(self.now) >= self.config.max_in_flight:
            raise Refused(429, f"Too many concurrent generations: the limit is {self.config.max_in_flight}")
        if self._committed + price_credits > self._granted:
            raise Refused(403, OUT_OF_CREDITS)

    def buy(self, generation: Generation, row: LogRow) -> Generation:
        """Record a purchase, and the highest number of generations that ever ran at once."""
        bought = self.store.buy(generation, row)
        self._committed += bought.cost_credits
        running = self.store.in_flight(self.now)
        if running > self.max_in_flight_seen:
            self.max_in_flight_seen = running
            self.store.note("max_in_flight_seen", running)
        return bought

    def order_of(self, generation: Generation) -> Order:
        """Return the film that a generation becomes."""
        if self.config.render == "tiny":
            return TINY
        return order_for(self.catalogue.models[generation.model], generation.inputs, self.studio.stills)

    def note_log_read(self) -> None:
        """Raise Refused (429) beyond the documented number of log requests a minute."""
        now = self.now
        while self._log_reads and self._log_reads[0] <= now - 60:
            self._log_reads.popleft()
        if len(self._log_reads) >= self.config.log_requests_per_minute:
            raise Refused(429, f"Too many requests: at most {self.config.log_requests_per_minute} per 60 seconds")
        self._log_reads.append(now)

    # --- the account

    @property
    def granted_credits(self) -> int:
        return round(self._granted)

    def balance_credits(self) -> int:
        """Return what the account holds: everything finished is paid, nothing that still runs."""
        if self.now < self._dry_until or self.faults.is_certain("out-of-credits"):
            return 0
        return self.granted_credits - self.store.spent_credits(self.now)

    def set_balance(self, usd: float) -> None:
        """Top the account up, or empty it, so that it holds this much now."""
        self._granted = usd * _CREDITS_PER_USD + self.store.spent_credits(self.now)
        self.store.note("granted_credits", self._granted)

    def run_dry(self, seconds: float) -> None:
        """Let the balance read zero for a while."""
        self._dry_until = self.now + seconds

    # --- result URLs

    @cached_property
    def _secret(self) -> bytes:
        return self.store.secret()

    def signature(self, name: str, expires: int) -> str:
        return hmac.new(self._secret, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()

    def video_url(self, generation: Generation, base: str, *, expires: int) -> str:
        """Return a presigned-looking URL of a result."""
        name = file_name(generation)
        query = urlencode({"X-Expires": expires, "X-Signature": self.signature(f"{generation.seq}/{name}", expires)})
        return f"{(self.config.public_url or base).rstrip('/')}/results/{generation.seq}/{name}?{query}"


def file_name(generation: Generation) -> str:
    return f"{hashlib.sha256(generation.id.encode()).hexdigest()[:24]}.mp4"


def client_request_id(request: Request) -> str | None:
    """Return `X-Client-Request-Id` if it is well-formed; anything else is silently dropped, as documented."""
    given = request.headers.get("x-client-request-id", "")
    return given if _CLIENT_REQUEST_ID.fullmatch(given) else None


def new_request_id() -> str:
    return secrets.token_hex(8)


def new_inference_id() -> str:
    return str(uuid.uuid4())


def of(request: Request) -> Sandbox:
    """Return the sandbox that a request was sent to."""
    found: Any = request.app.state.sandbox
    assert isinstance(found, Sandbox)
    return found
