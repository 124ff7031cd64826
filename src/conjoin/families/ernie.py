"""ERNIE (https://arxiv.org/abs/1907.12412): BERT with a table of tasks."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.bert_rows import BODY
from conjoin.spec import StackSpec, row

__all__ = ["ERNIE", "FAMILIES", "ErnieConfig"]


@config_class
@dataclass(kw_only=True)
class ErnieConfig(bert.BertConfig):
    """Sizes and settings of an ERNIE, with transformers' names and defaults."""

    model_type: ClassVar[str] = "ernie"

    task_type_vocab_size: int = 3
    use_task_id: bool = False


def read(config: ErnieConfig) -> StackSpec:
    """BERT's facts, and a table of tasks, of which a join knows the first."""
    return replace(bert.read(config), task_types=config.task_type_vocab_size if config.use_task_id else 0)


BODY_AND_TASKS = (*BODY, row("embed.task.weight", "embeddings.task_type_embeddings.weight"))

ERNIE = bert_family(ErnieConfig, "ErnieModel", "ErnieForCausalLM", "ernie.", read, body=BODY_AND_TASKS)
FAMILIES = (ERNIE,)
