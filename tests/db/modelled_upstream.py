"""An upstream in a few lines, for the state machine: what it was asked, what it sold, and what its log shows."""

from dataclasses import dataclass, field
from datetime import datetime

from app.domain.usage_log import LoggedRequest, own_attempt

DEPLOYMENT = "d1"
CREDITS_PER_MICRO = 2
"""2,000,000 credits are one dollar."""


@dataclass
class Sale:
    """A generation that was sold. One that fails costs nothing in the end."""

    id: str
    request_id: str
    sold_at: datetime
    micros: int
    fate: str
    """`done`, `empty` or `failed`: what it will have come to."""
    is_mute: bool
    """Whether nobody ever says what it cost."""
    has_ended: bool = False

    @property
    def job_id(self) -> str:
        attempt = own_attempt(self.request_id, deployment=DEPLOYMENT)
        assert attempt is not None
        return attempt[0]

    @property
    def is_charged(self) -> bool:
        return self.fate != "failed"

    @property
    def credits(self) -> int | None:
        return None if self.is_mute else self.micros * CREDITS_PER_MICRO


@dataclass
class Upstream:
    """Sells what it is asked for. The log lists a sale once it has ended, and requests that it turned down."""

    sales: list[Sale] = field(default_factory=list)
    asked: dict[str, datetime] = field(default_factory=dict)
    logged_failures: set[str] = field(default_factory=set)

    def hear(self, request_id: str, *, now: datetime) -> None:
        """A paid request arrives: none may come twice."""
        assert request_id not in self.asked, f"{request_id} was posted twice"
        self.asked[request_id] = now

    def sell(self, request_id: str, *, now: datetime, fate: str, is_mute: bool) -> Sale:
        assert request_id not in {sale.request_id for sale in self.sales}
        number = len(self.sales) + 1
        sale = Sale(f"gen-{number}", request_id, now, 1_000_000 + number, fate, is_mute)
        self.sales.append(sale)
        return sale

    def known(self, generation_id: str | None) -> Sale:
        return next(sale for sale in self.sales if sale.id == generation_id)

    def charged_for(self, job_id: str) -> list[Sale]:
        return [sale for sale in self.sales if sale.job_id == job_id and sale.is_charged]

    def log(self, *, start: datetime, until: datetime) -> list[list[LoggedRequest]]:
        """Return the rows of requests made between the two moments, request by request."""
        sold = [self._row(sale) for sale in self.sales if sale.has_ended]
        failed = [
            LoggedRequest(
                request_id=id_, inference_id=None, succeeded=False, model="veo2", credits=0, created_at=self.asked[id_]
            )
            for id_ in sorted(self.logged_failures)
        ]
        return [[row] for row in sold + failed if row.created_at is not None and start <= row.created_at <= until]

    def _row(self, sale: Sale) -> LoggedRequest:
        return LoggedRequest(
            request_id=sale.request_id,
            inference_id=sale.id,
            succeeded=sale.is_charged,
            model="veo2",
            credits=sale.credits if sale.is_charged else 0,
            created_at=sale.sold_at,
        )
