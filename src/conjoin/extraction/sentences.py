"""Texts to sentences, in some three hundred languages, by sentencex."""

__all__ = ["split_sentences"]


def split_sentences(text: str, language: str = "en") -> list[str]:
    """The sentences of a text, without the white space around them. `language` is an ISO 639 code.

    Raises ImportError where sentencex is not installed.
    """
    try:
        import sentencex
    except ModuleNotFoundError:
        raise ImportError(
            'extraction needs sentencex, which is not installed; run: pip install "conjoin[train]".'
        ) from None
    found = (sentence.strip() for sentence in sentencex.segment(language, text))
    return [sentence for sentence in found if sentence]
