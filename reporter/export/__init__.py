"""A recording's IOs in the formats of other programs."""
