"""`vmatrace whatif`: what a program could change, and what that would save."""
