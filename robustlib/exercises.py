"""Checkers for the reader's answers: each tries the answer on fresh cases and says one sentence."""
