"""The greatest address that can be, apart from what needs NumPy: the command line's quick commands do without that."""

LAST = (1 << 63) - 1
