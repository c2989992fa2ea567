"""One module per verb. Each reads, computes a `Change`, and commits it; nothing leaves before that (law 4)."""
