"""What the child process that reads documents is made of: for each kind of document its sections, then passages."""
