"""Illnesses of a storage stack, made for real and recorded: what the verdict's rules are tested on."""
