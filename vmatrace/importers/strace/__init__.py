"""Logs of strace: a line, its call, its process, its descriptors, and the events of them all."""
