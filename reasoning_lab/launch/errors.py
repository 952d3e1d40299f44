"""The one error of files and overrides."""


class ConfigError(Exception):
    """A mistake in files or overrides; the message is all that the user needs."""
