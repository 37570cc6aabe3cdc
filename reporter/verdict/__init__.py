"""The verdict: sentences made from a report's figures, by rules with names (docs/verdict.md explains each)."""
