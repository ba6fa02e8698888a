"""The folder of a training, opened."""
