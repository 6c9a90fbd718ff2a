"""The pages for people, and their files: no build step, nothing inline, nothing from another host."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import showing
from app.api.deps import HouseDep
from app.domain.errors import NotFound

FOLDER = Path(__file__).resolve().parents[1] / "web"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:{storage}; media-src 'self' blob:{storage}; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FOR_EVERYBODY = {"Access-Control-Allow-Origin": "*"}
"""Modules are imported across origins only with leave; these hold nothing that is not public."""
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    body: bytes
    content_type: str

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:24]}"'


@router.api_route("/", methods=["GET", "HEAD"])
async def read_page(request: Request, house: HouseDep) -> Response:
    """The page itself, told in its head whether videos are simulated or paid for."""
    return _served(request, _first_page(house.mode, house.max_image_bytes), origin=house.content_origin)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def read_docs(request: Request, house: HouseDep) -> Response:
    """The API's description as a page: it reads our own /openapi.json and nothing else."""
    return _served(request, _docs(), origin=house.content_origin)


@router.api_route("/client.js", methods=["GET", "HEAD"])
@router.api_route("/client.d.ts", methods=["GET", "HEAD"])
async def read_client(request: Request, house: HouseDep) -> Response:
    """The client for JavaScript, to be imported or copied, and its types."""
    response = _served(request, _client(request.url.path.rpartition("/")[2]), origin=house.content_origin)
    response.headers.update(FOR_EVERYBODY)
    return response


@router.api_route("/web/{name}", methods=["GET", "HEAD"])
async def read_file(name: str, request: Request, house: HouseDep) -> Response:
    """A file of the page."""
    page = _files().get(name)
    if page is None:
        raise NotFound("There is no such file. The page itself is at /.")
    return _served(request, page, origin=house.content_origin)


@cache
def _first_page(mode: str, max_image_bytes: int) -> Page:
    html = (FOLDER / "index.html").read_text("utf-8")
    html = html.replace("{{mode}}", mode).replace("{{max_image_bytes}}", str(max_image_bytes))
    return Page(html.encode(), "text/html; charset=utf-8")


@cache
def _docs() -> Page:
    return Page((FOLDER / "docs.html").read_bytes(), "text/html; charset=utf-8")


@cache
def _files() -> dict[str, Page]:
    """Everything that may be served, read once: a name that is not in it leads nowhere."""
    return {path.name: Page(path.read_bytes(), TYPES[path.suffix]) for path in FOLDER.iterdir() if path.suffix in TYPES}


@cache
def _client(name: str) -> Page:
    content_type = TYPES[".js"] if name == "client.js" else "text/plain; charset=utf-8"
    return Page((FOLDER / name).read_bytes(), content_type)


def _served(request: Request, page: Page, *, origin: str | None) -> Response:
    """Answer with the file; videos and posters may also come from where links into the storage lead."""
    policy = POLICY.format(storage="" if origin is None else f" {origin}")
    headers = {"ETag": page.tag, "Cache-Control": "no-cache", "Content-Security-Policy": policy}
    if showing.unchanged(request.headers.get("if-none-match"), page.tag):
        return Response(status_code=304, headers=headers)
    return Response(page.body, headers=headers | {"Content-Type": page.content_type})
