"""Find the target, trace it with bpftrace, and write a recording."""
