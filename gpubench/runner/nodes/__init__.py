"""A run on several machines (nodes): connections to an agent on each, and the worker hosts and jobs there."""
