"""Benchmarks: what Reelay costs beside a bare FastAPI process, and whether it stays as quick with millions of rows."""
