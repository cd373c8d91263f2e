"""The tests; a package so that they can share what tests/conftest.py has."""
