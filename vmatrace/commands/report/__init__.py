"""`vmatrace report`: what a trace costs in VMAs, over time and by call."""
