"""Seeded campaigns of hostile inputs, from every side that may be malicious.

Each input is made from a seed and its number alone, so that what a campaign finds can be done again:
``python -m campaigns --only messages --seed 7 --first 1234 --count 1``.
"""
