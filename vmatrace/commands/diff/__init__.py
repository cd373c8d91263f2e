"""`vmatrace diff`: what two sides make of a trace, and the features that part them."""
