"""Published test vectors (Wycheproof, NIST CAVP, RFCs), put through a TA's TEE_* calls."""
