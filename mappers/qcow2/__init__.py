"""qcow2 images: header, snapshot table, L1 and L2 tables, and what the file holds besides guest data."""
