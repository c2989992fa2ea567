"""The fakes and helpers we ship: a clock by hand, an issuer and a store with faults, a throw-away PostgreSQL."""
