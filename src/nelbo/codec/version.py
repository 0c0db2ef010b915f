"""The versions of the file format. The keys of the candidates depend on the first one, in all versions."""

FORMAT = 1  # of files by a diffusion network in float64
INTEGER_FORMAT = 2  # of files by an integer chain
