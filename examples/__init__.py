"""Examples that run from a checkout; none of this is installed."""
