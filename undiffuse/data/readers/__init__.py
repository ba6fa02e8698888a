"""Readers of data as people keep it: files, folders, hubs."""
