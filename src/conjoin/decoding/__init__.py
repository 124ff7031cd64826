"""Decoding over token ids, written once: settings, rules, searches, and the loop that runs them. It knows no text."""
