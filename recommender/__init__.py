"""What should be done, and why: suggestions from a Prometheus, each a tool and its arguments."""
