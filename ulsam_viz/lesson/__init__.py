"""The lesson: its words, its formulas with their numbers, probe pictures, quiz, and a hand-out.

Shared by page and print.
"""
