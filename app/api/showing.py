"""Jobs as answers: rendered for their caller, tagged, and told when to ask again."""

import hashlib
from typing import Any

import structlog
from starlette.responses import Response

from app.api import listing
from app.api.callers import Caller
from app.api.deps import House
from app.api.replies import reply
from app.api.schemas import JobList
from app.db import gate, jobs, queue
from app.db.engine import Connection
from app.domain.job import Job
from app.domain.states import ENDED_FOR_CALLERS, public_status
from app.domain.views import JobView, Waiting, render_job

log = structlog.get_logger(__name__)
ASK_AGAIN_SECONDS = 5
ASK_AGAIN_MOST = 10


def show_all(conn: Connection, listed: list[Job], *, house: House, caller: Caller) -> list[JobView]:
    """Render jobs of the caller's project as they stand now, queued ones with their place and what holds them."""
    now, viewer = house.db.about_now(conn), house.viewer(caller)
    places = queue.positions(conn, listed)
    hold, by_model = gate.reasons(conn) if places else (None, {})

    def waiting(job: Job) -> Waiting | None:
        return Waiting(places[job.id], hold or by_model.get(job.model)) if job.id in places else None

    return [render_job(job, now=now, viewer=viewer, waiting=waiting(job)) for job in listed]


def show(conn: Connection, job: Job, *, house: House, caller: Caller) -> JobView:
    """Render one job as it stands now."""
    return show_all(conn, [job], house=house, caller=caller)[0]


def show_page(conn: Connection, page: jobs.Page, *, house: House, caller: Caller) -> str:
    """Render a page as JSON, here in the reading thread: a hundred views would hold up the loop."""
    data = show_all(conn, page.jobs, house=house, caller=caller)
    return JobList(**listing.page(data, has_more=page.has_more)).model_dump_json()


def answer(view: JobView, job: Job, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the job as a response that tells a poller all it needs."""
    body = view.model_dump_json().encode()
    told = {"ETag": etag(job.event_count, body)} | retry_after(view)
    return reply(body, status=status, headers=told | (headers or {}))


def first_view(stored: str, *, status: int, headers: dict[str, str]) -> Response:
    """Return a job as it was when it was first told of; when new, what `answer` would have returned then."""
    body = stored.encode()
    told = {"ETag": etag(1, body), "Retry-After": str(ASK_AGAIN_SECONDS)}
    return reply(body, status=status, headers=told | headers)


def etag(event_count: int, body: bytes) -> str:
    """Return the view's tag. Its first part counts what happened to the job; the rest changes with every digit."""
    return f'"{event_count}-{hashlib.sha256(body).hexdigest()[:24]}"'


def retry_after(view: JobView) -> dict[str, str]:
    seconds = ask_again_seconds(view)
    return {} if seconds is None else {"Retry-After": str(seconds)}


def ask_again_seconds(view: JobView) -> int | None:
    """Return when a poller should ask again; None once the job has ended."""
    if view.state in ENDED_FOR_CALLERS:
        return None
    seconds = ASK_AGAIN_SECONDS if view.eta_seconds is None else view.eta_seconds
    return max(1, min(seconds, ASK_AGAIN_MOST))


def tags_of(header: str | None) -> list[str]:
    """Return the entity tags of an If-None-Match header, without quotes or weakness, which does not matter there."""
    return [tag.strip().removeprefix("W/").strip('"') for tag in (header or "").split(",") if tag.strip()]


def unchanged(header: str | None, tag: str) -> bool:
    """Tell whether If-None-Match names the tag."""
    tags = tags_of(header)
    return tag.strip('"') in tags or "*" in tags


def same_state(header: str | None, job: Job) -> bool:
    """Tell whether nothing has happened to the job since the view that If-None-Match names."""
    tags = tags_of(header)
    return "*" in tags or str(job.event_count) in {tag.partition("-")[0] for tag in tags}


def not_modified(response: Response) -> Response:
    """Return the 304 in place of `response`."""
    kept = {
        name: response.headers[name] for name in ("etag", "cache-control", "retry-after") if name in response.headers
    }
    applied = response.headers.get("preference-applied")
    return Response(status_code=304, headers=kept | ({"Preference-Applied": applied} if applied else {}))


def at_least(job: Job, *, house: House, caller: Caller) -> dict[str, Any]:
    """Return what can be said of a new job when the database, or the rendering itself, fails."""
    try:
        return render_job(job, now=job.created_at, viewer=house.viewer(caller)).model_dump(mode="json")
    except Exception:
        log.exception("job_rendering_failed", job_id=job.id)
        return {"id": job.id, "object": "job", "status": public_status(job.state), "state": job.state}
