"""Reelay."""
