"""What trains: the identity of a run, the order of its data, and what its process needs."""
