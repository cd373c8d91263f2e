"""What says that a trace cannot be verified here; a module of its own, as diff may have to know."""


class Skip(Exception):  # noqa: N818 - it states a fact about the trace on this machine
    """This trace cannot be verified here; ``str()`` says why, as a clause."""
