"""What the tests stand on: services of their own, a client, a server process."""
