"""Conditions: what samples are conditioned on, and how a network is given it."""
