"""The ways in. Each ends in the gate."""
