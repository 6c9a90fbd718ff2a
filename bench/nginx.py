"""nginx, where it is installed: a child of ours, with a configuration, logs and scratch folders of its own.

It serves a folder by itself below FILES, and is in front of Reelay for everything else, as docs/operations.md has it.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tcp import free_port

PATIENCE_SECONDS = 30
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
"""Debian puts it where only root's PATH leads."""
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {own}/pid;
error_log {own}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {own}/access.log;
  client_body_temp_path {own}/body;
  proxy_temp_path {own}/proxy;
  fastcgi_temp_path {own}/fastcgi;
  uwsgi_temp_path {own}/uwsgi;
  scgi_temp_path {own}/scgi;
  default_type video/mp4;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port};
    location {plain} {{ alias {files}/; }}
    {front}
  }}
}}
"""


FILES = "/files/"
ACCEL = "/protected/"
_DOCS = Path(__file__).parents[1] / "docs" / "operations.md"


@contextmanager
def serving(files: Path, *, own: Path, behind: str) -> Iterator[str]:
    """Run one worker process, with what it writes in `own`; `behind` is the address of Reelay. Yield its own."""
    assert PROGRAM is not None
    port = free_port()
    # Its worker would else be nobody, who may not look into a folder of ours.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = own / "nginx.conf"
    front = _in_front(behind, files=files)
    told = CONFIGURATION.format(user=user, own=own, port=port, files=files, plain=FILES, front=front)
    configuration.write_text(told, "utf-8")
    log = own / "error.log"
    process = subprocess.Popen([PROGRAM, "-p", str(own), "-c", str(configuration), "-e", str(log)])
    try:
        _wait(process, port, log=log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _in_front(address: str, *, files: Path) -> str:
    """Return what an operator is told to write, with our address and folder."""
    block: str
    [block] = re.findall(r"^```nginx\n(.*?)^```", _DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for shown, ours in (("http://127.0.0.1:8000", address), ("/srv/reelay/media/", f"{files}/")):
        if shown not in block:
            raise RuntimeError(f"docs/operations.md no longer names {shown} to nginx")
        block = block.replace(shown, ours)
    return block


def _wait(process: "subprocess.Popen[bytes]", port: int, *, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx did not start:\n{log.read_text('utf-8')[-3000:]}") from None
            time.sleep(0.02)
        else:
            return
