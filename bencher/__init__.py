"""Run a load again and again under two settings, record each run, and compare."""
