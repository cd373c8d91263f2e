"""`vmatrace explain`: how what is at an address came to be, and why it stayed apart."""
