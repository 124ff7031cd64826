"""The report as one HTML page that needs nothing else: no script, no address outside, light or dark, narrow or wide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from conjoin.training.report.examples import Example

__all__ = ["Section", "Sentence", "example", "page", "plot", "sentences"]

Section = tuple[str, str, str]  # title, a sentence on what it shows, HTML

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #656b73; --ground: #ffffff; --card: #f4f5f7; --line: #dcdfe4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa1ab; --ground: #15171a; --card: #1e2125; --line: #33383f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 46rem; padding: 1.2rem 1rem 4rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--ground); overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.4rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.2rem; }
p { margin: 0.2rem 0 0.6rem; } .soft, figcaption { color: var(--soft); font-size: 0.9rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 0.6rem; margin: 1rem 0; }
dl div { background: var(--card); border-radius: 0.5rem; padding: 0.5rem 0.7rem; }
dt { color: var(--soft); font-size: 0.8rem; } dd { margin: 0; font-weight: 600; }
.plot svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; } .wide svg { display: block; max-width: none; height: auto; }
article { border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.8rem 0.9rem; margin: 0.8rem 0; }
article p { margin: 0 0 0.5rem; } article b { display: block; color: var(--soft); font-size: 0.8rem; font-weight: 400; }
.output { font-weight: 600; } .source { max-height: 12em; overflow-y: auto; font-size: 0.92rem; }
details { margin-top: 0.4rem; } summary { cursor: pointer; color: var(--soft); font-size: 0.9rem; }
table { border-collapse: collapse; font-size: 0.9rem; } td { padding: 0.1rem 1.2rem 0.1rem 0; vertical-align: top; }
code { font: 0.9em ui-monospace, monospace; }
.sentences { list-style: none; margin: 0 0 0.6rem; padding: 0; max-height: 22em; overflow-y: auto; font-size: 0.92rem; }
.sentences li { display: flex; gap: 0.7rem; padding: 0.15rem 0.5rem; margin-bottom: 2px; border-left: 4px solid transparent; }
.sentences .chosen { border-left-color: #3b82f6; font-weight: 600; }
.sentences .score { flex: 0 0 2.6rem; text-align: right; color: var(--soft); font-weight: 400;
  font-variant-numeric: tabular-nums; }
.sentences em { font: 400 0.75rem system-ui, sans-serif; border: 1px solid #f97316; border-radius: 0.6rem; padding: 0 0.4rem;
  white-space: nowrap; }
"""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a document: its score, 0 to 1, if it was read; whether it was chosen, and whether it should be."""

    text: str
    score: float | None
    chosen: bool
    wanted: bool


def page(
    title: str, state: str, facts: Mapping[str, str], sections: Sequence[Section], settings: Mapping[str, str]
) -> str:
    """The page: what the run is, how it stands, a few facts, the pictures, and every setting."""
    cards = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    parts = "".join(
        f"<section><h2>{escape(name)}</h2><p class=soft>{escape(said)}</p>{body}</section>\n"
        for name, said, body in sections
    )
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td><code>{escape(value)}</code></td></tr>"
        for name, value in settings.items()
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f"<h1>{escape(title)}</h1>\n<p class=soft>{escape(state)}</p>\n<dl>{cards}</dl>\n{parts}"
        f"<section><h2>Settings</h2><details><summary>all of them</summary><table>{rows}</table></details></section>\n"
        f"</html>\n"
    )


def plot(svg: str) -> str:
    """A picture as wide as the page."""
    return f"<div class=plot>{svg}</div>"


def example(found: Example, picture: str | None) -> str:
    """One example, its picture to be unfolded."""
    seen = ""
    if picture is not None and found.attention is not None:
        more = found.attention.left_out
        note = f" {more} source tokens that are looked at less are left out." if more else ""
        seen = (
            f"<details><summary>what it looked at</summary><p class=soft>Written tokens downwards, source tokens to the "
            f"right; the mean of all heads and layers, each row in its own scale.{note}</p>"
            f"<div class=wide>{picture}</div></details>"
        )
    return (
        f"<article><p class=output><b>model</b>{escape(found.output) or '(nothing)'}</p>"
        f"<p><b>reference</b>{escape(found.reference)}</p>"
        f"<p class=source><b>source</b>{escape(found.source)}</p>{seen}</article>"
    )


def sentences(own: Sequence[Sentence], summary: str) -> str:
    """A document, a sentence a line and as strongly coloured as its score is high, and the summary that it should make."""
    lines = []
    for one in own:
        score = "–" if one.score is None else f"{one.score:.2f}"
        mark = " <em>label</em>" if one.wanted else ""
        lines.append(
            f"<li{' class=chosen' * one.chosen} style='background: rgb(59 130 246 / {40 * (one.score or 0.0):.0f}%)'>"
            f"<span class=score>{score}</span><span>{escape(one.text)}{mark}</span></li>"
        )
    return f"<article><ol class=sentences>{''.join(lines)}</ol><p><b>reference</b>{escape(summary)}</p></article>"
