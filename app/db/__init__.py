"""What is remembered, and the only SQL. Verbs are plain functions over a connection; callers own the transaction."""
