"""What a person may do with each kind of data."""
