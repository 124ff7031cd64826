"""Tokens drafted by something cheap and checked by the model in one step: prompt lookup and assisted generation.

What comes out is what the model alone would choose, token for token, in greedy search and in sampling: a draft is kept for
as long as it is what the model chooses itself, with the noise that the model alone would draw at that place. Rows of a batch
keep as many tokens as they can, each its own number.

reader.py   a decoder and what it has read of each row
choosing.py what a model chooses at several places of each row
lookup.py   drafts found in the source and in what was written
assistant.py drafts of a smaller model
translated.py drafts of one that writes other tokens
rounds.py   drafting and checking, until all rows are done
"""

from conjoin.engine.speculative.rounds import speculated

__all__ = ["speculated"]
