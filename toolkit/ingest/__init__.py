"""raw/ or anyone's trace -> one clock, one schema: one file a format."""

import os

# NumPy's linear algebra, which nothing here uses, else starts a thread a core that spins while a trace is read.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
