"""Floor 5: thin skins over the web edge, one a framework; they never meet, and each needs its own extra."""
