"""How good a model's texts are and what they are like, with confidence intervals; and how two models differ.

evaluate.py      a model on pairs of texts, the baseline, two models compared
rouge.py         ROUGE-1, ROUGE-2, ROUGE-L
bleu.py          BLEU and chrF
texts.py         repetition, novelty, length
measures.py      scores as counts that add up
intervals.py     bootstrap confidence intervals
significance.py  paired differences and p-values
"""

from conjoin.evaluation.evaluate import FACTS, METRICS, Scores, compare, evaluate, lead_baseline, score, write_all
from conjoin.evaluation.intervals import Estimate
from conjoin.evaluation.significance import Difference
from conjoin.evaluation.texts import lead

__all__ = [
    "FACTS",
    "METRICS",
    "Difference",
    "Estimate",
    "Scores",
    "compare",
    "evaluate",
    "lead",
    "lead_baseline",
    "score",
    "write_all",
]
