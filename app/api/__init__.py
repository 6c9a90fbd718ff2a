"""The front door: parse, call one or two verbs, return a view."""
