"""What should be done, and why: suggestions made from a Prometheus, each a tool and its arguments."""
