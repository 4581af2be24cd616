"""How the clusters and AWS are looked at."""
