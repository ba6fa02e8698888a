"""Measurements that the README quotes: ratios against peers, in one run."""
