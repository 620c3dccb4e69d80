"""What is counted and kept for people to read. It is fed with values and asks nobody."""
