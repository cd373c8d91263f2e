"""The model beside the running kernel: lockstep comparison, random traces, shrinking.

Uses the engine and the oracle; neither knows of the other, and both know nothing of this.
"""
