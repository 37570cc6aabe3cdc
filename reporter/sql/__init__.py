"""SQL over recordings: documented views, and a DuckDB that can read nothing else."""
