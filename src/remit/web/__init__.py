"""The HTTP surfaces: one module per standard. Handlers parse, call a verb, and render."""
