"""What is counted and kept for people to look at; fed with values, it asks nobody."""
