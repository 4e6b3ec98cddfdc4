"""What the tests stand on: services of their own, a client of the bare contract, a server process."""
