"""A transparency log: RFC 6962 trees kept as C2SP tiles. Pure: hashes in, hashes and proofs out."""
