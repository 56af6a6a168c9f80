"""What `sentalign plan` prints before a run: the length of an epoch, its duplicates, its reads."""
