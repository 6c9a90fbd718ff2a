"""The page and its files: what is served, under which policy, and that nothing else can be reached."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.api import pages, routes
from app.api.deps import House
from tests.api.conftest import ClientFor, require_error

FOLDER = Path(pages.FOLDER)
SAMPLE = "sample.jpg"
SERVED = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".css", ".js", ".svg", ".jpg"))
WRITTEN = [FOLDER / name for name in [*SERVED, "index.html", "docs.html"] if name != SAMPLE]
LARGEST = 52_000
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
}
FOREIGN = re.compile(r"https?:|[\"'(=\s]//[a-z]", re.IGNORECASE)
XML_NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def visitor(client_for: ClientFor) -> httpx2.AsyncClient:
    """Somebody without a key."""
    return client_for()


class Elements(HTMLParser):
    """Every element of a document: its name and its attributes, and what scripts and styles hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._within = tag
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.inline += data.strip()

    def metas(self) -> dict[str, str | None]:
        return {str(found.get("name")): found.get("content") for tag, found in self.found if tag == "meta"}

    def references(self) -> list[str]:
        return [str(value) for _, found in self.found for name, value in found.items() if name in ("href", "src")]


async def test_read_page__answers_without_key_under_the_policy(visitor: httpx2.AsyncClient) -> None:
    answer = await visitor.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    directives = (part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";"))
    assert {name: value for name, _, value in directives} == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("mode", ["sandbox", "real"])
async def test_read_page__tells_the_mode(client_for: ClientFor, house: House, mode: str) -> None:
    other = replace(house, mode="real" if mode == "real" else "sandbox", max_image_bytes=12_345_678)
    answer = await client_for(app=routes.build(other)).get("/")
    metas = Elements(answer.text).metas()
    assert metas["reelay-mode"] == mode
    assert metas["reelay-max-image-bytes"] == "12345678"
    assert "{{" not in answer.text


async def test_docs__is_a_page_under_the_same_policy(visitor: httpx2.AsyncClient) -> None:
    page, docs = await visitor.get("/"), await visitor.get("/docs")
    assert (docs.status_code, docs.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert docs.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert docs.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(("path", "script"), [("/", "web/page.js"), ("/docs", "web/docs.js")])
async def test_read_page__refers_only_to_files_that_are_there(
    visitor: httpx2.AsyncClient, path: str, script: str
) -> None:
    references = Elements((await visitor.get(path)).text).references()
    assert {"web/style.css", script, "web/favicon.svg"} <= set(references)
    for reference in references:
        if reference == "openapi.json":
            continue
        answer = await visitor.get(f"/{reference}")
        assert answer.status_code == 200, reference
        assert answer.headers["content-type"] == TYPES[Path(reference).suffix]


def test_modules__import_only_modules_that_are_there() -> None:
    imported = {
        name
        for path in FOLDER.glob("*.js")
        for name in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", path.read_text("utf-8"))
    }
    assert imported
    assert {name.removeprefix("./") for name in imported} | {"page.js", "docs.js", "client.js"} == {
        p.name for p in FOLDER.glob("*.js")
    }
    assert all(name.startswith("./") for name in imported)


@pytest.mark.parametrize("name", SERVED)
async def test_read_file__serves_the_file_as_it_is(visitor: httpx2.AsyncClient, name: str) -> None:
    answer = await visitor.get(f"/web/{name}")
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"] == TYPES[Path(name).suffix]
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/web/style.css", f"/web/{SAMPLE}"])
async def test_read_file__not_modified(visitor: httpx2.AsyncClient, path: str) -> None:
    first = await visitor.get(path)
    again = await visitor.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (await visitor.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize("path", ["/", "/web/page.js"])
async def test_read_file__head(visitor: httpx2.AsyncClient, path: str) -> None:
    whole, head = await visitor.get(path), await visitor.head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/web",
        "/web/",
        "/web/nothing.js",
        "/web/__init__.py",
        "/web/docs.html",
        "/web/index.html",  # without its mode it is not the page
        "/web/page.js/",
        "/web/PAGE.JS",
        "/web/%2e%2e/main.py",
        "/web/..%2fmain.py",
        "/web/..%5cmain.py",
        "/web/..%2f..%2fpyproject.toml",
        "/web/%2fetc%2fpasswd",
        "/web/page.js%00.css",
        "/web/sub/page.js",
    ],
)
async def test_read_file__refuses_what_is_no_file_of_the_page(visitor: httpx2.AsyncClient, path: str) -> None:
    answer = await visitor.get(httpx2.URL("https://reelay.test").copy_with(raw_path=path.encode()))
    require_error(answer, 404, code="not_found")


async def test_read_file__only_reads(visitor: httpx2.AsyncClient) -> None:
    for path in ("/", "/web/page.js"):
        refused = await visitor.post(path)
        require_error(refused, 405)
        assert refused.headers["allow"] == "GET, HEAD"


def test_pages__are_no_part_of_the_api_document(app: FastAPI) -> None:
    assert not [path for path in app.openapi()["paths"] if path in ("/", "/docs") or path.startswith("/web")]


@pytest.mark.parametrize("name", ["index.html", "docs.html"])
def test_document__has_nothing_inline(name: str) -> None:
    document = Elements((FOLDER / name).read_text("utf-8"))
    assert document.inline == ""
    attributes = {name for _, found in document.found for name in found}
    assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert "style" not in {tag for tag, _ in document.found}
    assert all(found.get("src") for tag, found in document.found if tag == "script")


def test_document__labels_its_fields() -> None:
    document = Elements((FOLDER / "index.html").read_text("utf-8"))
    labelled = {found.get("for") for tag, found in document.found if tag == "label"}
    fields = {found.get("id") for tag, found in document.found if tag in ("input", "select", "textarea")}
    assert {name for name in fields if name} == labelled - {None}
    ids = [found["id"] for _, found in document.found if "id" in found]
    assert len(ids) == len(set(ids))


def test_document__never_sends_a_key_by_itself() -> None:
    """Were the script missing, submitting the form must not put the key into an address."""
    document = Elements((FOLDER / "index.html").read_text("utf-8"))
    [key] = [found for _, found in document.found if found.get("id") == "key"]
    assert "name" not in key


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_files__name_no_other_host(path: Path) -> None:
    assert not FOREIGN.search(path.read_text("utf-8").replace(XML_NAMESPACE, ""))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_scripts__write_text_never_markup(path: Path) -> None:
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|javascript:"
    )
    assert not re.search(unsafe, path.read_text("utf-8"))


def test_files__are_small() -> None:
    assert sum(path.stat().st_size for path in WRITTEN if path.name != "client.js") < LARGEST


@pytest.mark.parametrize(("name", "kind"), [("client.js", "text/javascript"), ("client.d.ts", "text/plain")])
async def test_read_client__is_for_pages_of_every_origin(visitor: httpx2.AsyncClient, name: str, kind: str) -> None:
    whole = await visitor.get(f"/{name}", headers={"Origin": "https://anywhere.example"})
    assert (whole.status_code, whole.content) == (200, (FOLDER / name).read_bytes())
    assert whole.headers["content-type"] == f"{kind}; charset=utf-8"
    assert (whole.headers["access-control-allow-origin"], whole.headers["cache-control"]) == ("*", "no-cache")
    head = await visitor.head(f"/{name}")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    known = await visitor.get(f"/{name}", headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.headers["access-control-allow-origin"]) == (304, "*")


def test_client__has_what_its_types_say_and_no_more() -> None:
    script, types = [(FOLDER / name).read_text("utf-8") for name in ("client.js", "client.d.ts")]
    exported = r"^export class (\w+)"
    assert set(re.findall(exported, script, re.MULTILINE)) == set(re.findall(exported, types, re.MULTILINE))
    assert len(re.findall(r"^export ", script, re.MULTILINE)) == 2
    [made] = re.findall(r"^export class Reelay \{\n(.*?)^\}", script, re.MULTILINE | re.DOTALL)
    [told] = re.findall(r"^export class Reelay \{\n(.*?)^\}", types, re.MULTILINE | re.DOTALL)
    methods = re.findall(r"^  (?:async )?\*?(\w+)\(.*\{$", made, re.MULTILINE)
    assert sorted(methods) == sorted(re.findall(r"^  (\w+)(?:<.*>)?\(", told, re.MULTILINE))
    [error] = re.findall(r"^export class ReelayError.*?^\}", types, re.MULTILINE | re.DOTALL)
    fields = re.findall(r"readonly (\w+):", error)
    [set_] = re.findall(r"Object\.assign\(this, \{ name: \"ReelayError\", (.*?) \}", script)
    assert sorted(fields) == sorted(set_.split(", "))
