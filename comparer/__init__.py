"""Compare runs: is the new one slower, in which layer, by how much, and how sure is that? See compare.compare()."""
