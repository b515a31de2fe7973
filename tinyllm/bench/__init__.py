"""Measure the speed and memory of ops, training, generating and tokenizers on this machine."""
