"""Texts that a program can check: brackets, sudokus and sums."""
