"""How an edge reaches its centre, and the keys it verifies and digests with."""
