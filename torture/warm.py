"""What every life would do first, done once in the process that victims are forked from."""

import importlib
from functools import cache

import httpcore2

LATE = ("anyio._backends._asyncio", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite", "uvloop")
"""Modules that are imported when they are first needed."""

for late in LATE:
    importlib.import_module(late)

# The authorities' certificates are read once: under torture everybody speaks plain HTTP.
httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)
httpcore2.default_ssl_context(_trust_env=True)
