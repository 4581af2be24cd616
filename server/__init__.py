"""Who may do it, how it is carried out, the doors, and putting it all together."""
