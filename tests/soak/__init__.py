"""What takes long to show. `make test` runs a short cut of each; `make soak` all of it."""

import os

WHOLE = os.environ.get("PILOTHOUSE_TEST_SOAK") == "1"
