"""What starts an agent on every node: existing programs. Each engine is one file; none schedules anything itself."""
