"""Truth tests: a known delay is put into a known place, and the report must charge it to that place.

`python -m lab.truth` runs every injection that this host can do and prints the table of docs/truth.md.
"""
