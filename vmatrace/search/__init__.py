"""The search engine: random programs, what guides them, and how what they find is made small.

Knows events, models and what a program leads to; no real kernel, no command and no screen. verify
has its programs and its reducer from here, too.
"""
