"""`python -m benchmarks`: what a delivery costs a server, beside the Channels tutorial's."""
