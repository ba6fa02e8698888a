"""Codecs: between data as it is stored and data as it diffuses."""
