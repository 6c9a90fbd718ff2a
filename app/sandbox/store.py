"""What the sandbox remembers, in one SQLite file: generations, the request log, the account. The only SQL here.

Every method is one short statement or transaction, called from the event loop's thread only: with WAL and
`synchronous=NORMAL` a purchase takes well under a millisecond, and survives the process being killed.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from app.sandbox.generations import Generation

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tallies (key TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generations (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    client_request_id TEXT,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    inputs TEXT NOT NULL,
    created REAL NOT NULL,
    ready REAL NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('completed', 'error')),
    price_credits INTEGER NOT NULL,
    faults TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS generations_ready ON generations (ready, outcome, price_credits);
CREATE INDEX IF NOT EXISTS generations_client_request_id ON generations (client_request_id);
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY,
    created REAL NOT NULL,
    visible REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('succeeded', 'failed')),
    model TEXT NOT NULL,
    credits INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    inference_id TEXT NOT NULL,
    client_request_id TEXT
);
CREATE INDEX IF NOT EXISTS log_created ON log (created);
"""

PURCHASE_FILTERS = ("model", "client_request_id", "client_request_id_prefix", "prompt", "since")
_MATCHING_PURCHASES = """
    FROM generations
    WHERE (:model IS NULL OR model = :model)
      AND (:client_request_id IS NULL OR client_request_id = :client_request_id)
      AND (:client_request_id_prefix IS NULL OR instr(client_request_id, :client_request_id_prefix) = 1)
      AND (:prompt IS NULL OR instr(prompt, :prompt) > 0)
      AND (:since IS NULL OR created >= :since)
"""
_COUNT_PURCHASES = "SELECT count(*)" + _MATCHING_PURCHASES
_PAGE_PURCHASES = "SELECT *" + _MATCHING_PURCHASES + "ORDER BY seq LIMIT :limit OFFSET :offset"
_MATCHING_LOG = """
    FROM log
    WHERE created >= :start AND created <= :end AND visible <= :visible
      AND (:models = '[]' OR model IN (SELECT value FROM json_each(:models)))
      AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
"""
_COUNT_LOG = "SELECT count(*)" + _MATCHING_LOG
_PAGE_LOG = "SELECT *" + _MATCHING_LOG + "ORDER BY created DESC, seq DESC LIMIT :limit OFFSET :offset"


class LogRow(NamedTuple):
    """One request in the usage log; `visible` is when the analytics pipeline could have seen it at the earliest."""

    created: float
    visible: float
    status: str
    model: str
    credits: int
    request_id: str
    inference_id: str
    client_request_id: str | None


class Charge(NamedTuple):
    """One entry of the account's ledger."""

    seq: int
    created: float
    model: str
    credits: int
    inference_id: str


class Store:
    """The sandbox's memory."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")

    def close(self) -> None:
        self._db.close()

    def recall(self, key: str, default: float) -> float:
        """Return a remembered number."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else float(row[0])

    def note(self, key: str, value: float) -> None:
        """Remember a number."""
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def secret(self) -> bytes:
        """Return what result URLs are signed with; made once."""
        fresh = secrets.token_hex(32)
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (fresh,))
        (found,) = self._db.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
        return bytes.fromhex(found)

    def tally(self, key: str) -> int:
        """Count one more of `key` and return how many there were."""
        statement = "INSERT INTO tallies VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"
        (n,) = self._db.execute(statement, (key,)).fetchone()
        return int(n)

    def buy(self, generation: Generation, row: LogRow) -> Generation:
        """Record a purchase with its log row; return it with its sequence number."""
        inputs, faults = json.dumps(generation.inputs), json.dumps(generation.faults)
        values = (*generation[1:5], inputs, *generation[6:10], faults)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            statement = "INSERT INTO generations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            seq = self._db.execute(statement, values).lastrowid
            self.log(row)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return generation._replace(seq=seq or 0)

    def log(self, row: LogRow) -> None:
        self._db.execute("INSERT INTO log VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def find(self, generation_id: str) -> Generation | None:
        return self._first("SELECT * FROM generations WHERE id = ?", (generation_id,))

    def by_seq(self, seq: int) -> Generation | None:
        return self._first("SELECT * FROM generations WHERE seq = ?", (seq,))

    def latest(self) -> Generation | None:
        return self._first("SELECT * FROM generations ORDER BY seq DESC LIMIT 1", ())

    def purchases(self, filters: dict[str, Any], *, limit: int, offset: int) -> tuple[list[Generation], int]:
        """Return one page of purchases in the order they were made, and how many match in all."""
        values = dict.fromkeys(PURCHASE_FILTERS) | filters | {"limit": limit, "offset": offset}
        (count,) = self._db.execute(_COUNT_PURCHASES, values).fetchone()
        return [_generation(row) for row in self._db.execute(_PAGE_PURCHASES, values)], int(count)

    def repeated_client_request_ids(self) -> dict[str, list[str]]:
        """Return the client request ids that bought more than once, with their generations."""
        statement = (
            "SELECT client_request_id, json_group_array(id) FROM generations WHERE client_request_id IS NOT NULL "
            "GROUP BY client_request_id HAVING count(*) > 1 ORDER BY min(seq)"
        )
        return {value: json.loads(ids) for value, ids in self._db.execute(statement)}

    def repeated_prompts(self) -> dict[str, list[str]]:
        """Return the prompts that bought more than once, with their generations."""
        statement = (
            "SELECT prompt, json_group_array(id) FROM generations GROUP BY prompt HAVING count(*) > 1 ORDER BY min(seq)"
        )
        return {value: json.loads(ids) for value, ids in self._db.execute(statement)}

    def in_flight(self, now: float) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM generations WHERE ready > ?", (now,)).fetchone()
        return int(count)

    def counts(self, now: float) -> dict[str, int]:
        """Return how many generations are unfinished, completed and failed."""
        statement = "SELECT iif(ready > ?, 'in_flight', outcome) AS phase, count(*) FROM generations GROUP BY phase"
        return {phase: int(n) for phase, n in self._db.execute(statement, (now,))}

    def spent_credits(self, until: float) -> int:
        """Return what the generations finished by then cost together."""
        statement = "SELECT coalesce(sum(price_credits), 0) FROM generations WHERE ready <= ? AND outcome = 'completed'"
        (credits_used,) = self._db.execute(statement, (until,)).fetchone()
        return int(credits_used)

    def charges(self, *, since: float, until: float, before: tuple[float, int], limit: int) -> list[Charge]:
        """Return ledger entries newest first, from just below the position `before` = (created, seq) on."""
        statement = (
            "SELECT seq, ready, model, price_credits, id FROM generations WHERE outcome = 'completed' "
            "AND ready >= ? AND ready < ? AND (ready, seq) < (?, ?) ORDER BY ready DESC, seq DESC LIMIT ?"
        )
        return [Charge(*row) for row in self._db.execute(statement, (since, until, *before, limit))]

    def log_page(
        self,
        window: tuple[float, float],
        *,
        visible: float,
        models: list[str],
        statuses: list[str],
        page: tuple[int, int],
    ) -> tuple[list[LogRow], int]:
        """Return one page (limit, offset) of the log, newest first, and how many rows match in all."""
        values = {
            "start": window[0], "end": window[1], "visible": visible, "limit": page[0], "offset": page[1],
            "models": json.dumps(models), "statuses": json.dumps(statuses),
        }  # fmt: skip
        (total,) = self._db.execute(_COUNT_LOG, values).fetchone()
        return [LogRow(*row[1:]) for row in self._db.execute(_PAGE_LOG, values)], int(total)

    def durations(self, *, since: float, until: float) -> Iterable[tuple[str, float]]:
        """Yield (model, seconds) of each generation that completed in the window."""
        statement = (
            "SELECT model, ready - created FROM generations WHERE ready > ? AND ready <= ? AND outcome = 'completed'"
        )
        yield from self._db.execute(statement, (since, until))

    def forget(self) -> None:
        """Empty every table but what URLs are signed with."""
        self._db.executescript(
            "BEGIN; DELETE FROM generations; DELETE FROM log; DELETE FROM tallies; "
            "DELETE FROM meta WHERE key <> 'secret'; COMMIT;"
        )

    def _first(self, statement: str, values: tuple[Any, ...]) -> Generation | None:
        row = self._db.execute(statement, values).fetchone()
        return None if row is None else _generation(row)


def _generation(row: tuple[Any, ...]) -> Generation:
    return Generation._make([*row[:5], json.loads(row[5]), *row[6:10], json.loads(row[10])])
