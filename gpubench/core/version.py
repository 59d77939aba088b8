"""The version of this package, for everything that stores or shows it."""

__version__ = "0.1.0"
