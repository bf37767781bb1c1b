"""``make conformance``: OP-TEE's own test suite, as Debian packages it for arm64, against optemu."""
