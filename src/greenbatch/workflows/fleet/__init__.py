"""A study on a fleet: the client's side, and the process that measures on each machine."""
