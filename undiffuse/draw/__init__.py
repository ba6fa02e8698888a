"""Drawings of data, samples, films, curves, vector fields and schedules, in one plain style."""
