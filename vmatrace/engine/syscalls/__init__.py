"""One family of calls per module: check arguments as the kernel does, call mm, return a value."""
