"""The version of vmatrace."""

__version__ = "0.1.0"


def is_compiled() -> bool:
    """Whether the modules that a replay spends its time in are extensions, and not Python."""
    from importlib.machinery import EXTENSION_SUFFIXES
    from os.path import dirname, exists, join

    engine = join(dirname(__file__), "engine", "mm")
    return any(exists(engine + suffix) for suffix in EXTENSION_SUFFIXES)
