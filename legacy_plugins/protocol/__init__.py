"""Floor 0: the protocol as values. Bytes in, messages out; no I/O, no thread, no clock, no logging."""
