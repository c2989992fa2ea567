"""The composition roots, which alone name implementations: of a server, of an edge, of what is done without either."""
