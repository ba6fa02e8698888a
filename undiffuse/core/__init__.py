"""What everything stands on: errors, files, configuration values, parallel processes, noise, distributions."""
