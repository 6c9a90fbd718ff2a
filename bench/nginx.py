"""nginx, where it is installed: a child of ours, with a configuration, logs and scratch folders of its own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.processes import free_port

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
    location / {{ root {files}; }}
  }}
}}
"""


@contextmanager
def serving(files: Path, *, own: Path) -> Iterator[str]:
    """Run one worker process that serves a folder, with what it writes in `own`; yield its address."""
    assert PROGRAM is not None
    own.mkdir()
    port = free_port()
    # Its worker would else be nobody, who may not look into a folder of ours.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = own / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(user=user, own=own, port=port, files=files), "utf-8")
    log = own / "error.log"
    process = subprocess.Popen([PROGRAM, "-p", str(own), "-c", str(configuration), "-e", str(log)])
    try:
        _wait(process, port, log=log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


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
