"""The version of the file format. The keys of the candidates depend on it too."""

FORMAT = 1
