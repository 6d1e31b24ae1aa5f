"""From files that people collected to clips of one shot each: sources, provenance, shots, clips."""
