"""A trace through the engine: what each event did, and what came of it all. Start at run.py."""
