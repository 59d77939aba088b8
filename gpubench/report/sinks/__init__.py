"""Where a stored run can be sent: files that other programs read, and trackers of experiments."""
