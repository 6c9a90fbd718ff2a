"""Small web servers, each an origin of its own: other people's pages, of which Reelay knows the origin at most."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGES = Path(__file__).with_name("pages")
SAMPLE = Path(__file__).parents[2] / "app" / "web" / "sample.jpg"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".jpg": "image/jpeg"}


class Site:
    """What is served at one origin. `answers` are pages made by a test, and what the site's own back end says."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.files = {path.name: path for path in (*PAGES.iterdir(), SAMPLE)}
        # Browsers ask for it by themselves, and complain where there is none.
        self.answers: dict[str, Callable[[], str | dict[str, str]]] = {"/favicon.ico": str}

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, type and content for a path."""
        if path in self.answers:
            said = self.answers[path]()
            if isinstance(said, str):
                return 200, TYPES[".html"], said.encode()
            return 200, "application/json", json.dumps(said).encode()
        file = self.files.get(path.removeprefix("/"))
        return (404, "text/plain", b"") if file is None else (200, TYPES[file.suffix], file.read_bytes())


@contextmanager
def open_site(name: str) -> Iterator[Site]:
    """Serve at `http://NAME.localhost`, which browsers take for this machine and for a safe place, on a free port."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content_type, content = site.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        site = Site(f"http://{name}.localhost:{server.server_port}")
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield site
        server.shutdown()
        serving.join()
