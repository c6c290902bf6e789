"""Floor 1: bytes and the operating system. Pipes, processes, trust, the guard; it knows no JSON."""
