"""What a sample may be asked to be."""
