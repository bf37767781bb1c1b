"""Hypothesis without deadlines: a busy machine is not a failing test."""

from hypothesis import settings

settings.register_profile("optemu", deadline=None)
settings.load_profile("optemu")
