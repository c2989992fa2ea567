"""Foreign evidence becomes verified claims. Everything fetched from outside goes through `fetch`."""
