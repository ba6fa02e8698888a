"""Data: toys to draw, digits that come along, and readers of data of your own, all as one ``Dataset``."""
