"""How good a model's texts are: ROUGE, BLEU and chrF with confidence intervals, beside a lead baseline.

evaluate.py    a model on pairs of texts, and the baseline
rouge.py       ROUGE-1, ROUGE-2, ROUGE-L
bleu.py        BLEU and chrF
intervals.py   bootstrap confidence intervals
"""

from conjoin.evaluation.evaluate import METRICS, Scores, evaluate, lead, lead_baseline, score
from conjoin.evaluation.intervals import Estimate

__all__ = ["METRICS", "Estimate", "Scores", "evaluate", "lead", "lead_baseline", "score"]
