"""The whole truth of a training, as one value."""
