"""Data that a program draws."""
