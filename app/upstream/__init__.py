"""The provider's language, and the only holder of its key."""
