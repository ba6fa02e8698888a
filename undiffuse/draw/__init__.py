"""Pictures of data, samples, films of un-diffusing, curves, fields and schedules, in one quiet style."""
