"""The version of vmatrace."""

__version__ = "0.1.0"
