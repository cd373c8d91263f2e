"""The commands: each module has one, called ``command``, and is imported when it is asked for."""
