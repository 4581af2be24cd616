"""What can be done: tools that answer, and tools that plan. Nothing here changes anything."""
