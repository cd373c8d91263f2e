"""`vmatrace diff --across`: a trace under several models, each compared with the one before it."""
