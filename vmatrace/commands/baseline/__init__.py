"""Saved results that later runs are compared with: `vmatrace baseline`."""
