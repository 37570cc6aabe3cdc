"""A small real guest, loads for it and storage under it: for the demo, the bench and the live tests."""
