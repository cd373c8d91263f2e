"""The trace file: its YAML, its grammar of calls, and the Trace it gives. Start at file.py."""
