"""Replay mmap/prctl traces against an exact model of Linux's VMA engine."""
