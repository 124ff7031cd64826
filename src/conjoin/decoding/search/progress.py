"""How far hypotheses are with their constraints, as arrays: each constraint a tree of tokens in tables, each hypothesis a node.

A token moves the constraint that is under way; if it does not fit, that constraint begins again, behind the others. Where
none is under way, it moves the first that it begins, in that order.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from conjoin.constraints import Constraint

__all__ = ["Progress", "advanced", "all_met", "banks", "begun_progress", "openings", "tables"]

Array = Any
LAST = 1 << 24  # behind every place in the order; exact in float32


@dataclass(frozen=True, eq=False)
class Tables:
    """Constraints as trees, their nodes counted through: the root of each has no number of tokens behind it."""

    tokens: np.ndarray[Any, Any]  # (nodes, edges) the tokens that lead on from a node, -1 for none
    nodes: np.ndarray[Any, Any]  # (nodes, edges) where they lead
    roots: np.ndarray[Any, Any]  # (C,)
    inner: np.ndarray[Any, Any]  # (nodes,) whether a constraint is under way there
    leaves: np.ndarray[Any, Any]  # (nodes,) whether it is met there
    worth: np.ndarray[Any, Any]  # (nodes,) how far it is: the longest constraint's length where it is met


class Progress(NamedTuple):
    """Where hypotheses stand, and in which order their constraints wait, (B, K, C) each."""

    node: Array
    order: Array


@lru_cache(maxsize=64)
def tables(constraints: tuple[Constraint, ...]) -> Tables:
    """The trees of some constraints."""
    longest = max(one.longest for one in constraints)
    edges: list[dict[int, int]] = []
    roots, inner, worth = [], [], []

    def node(depth: int, height: int) -> int:
        edges.append({})
        inner.append(depth > 0)
        worth.append(longest - height + depth if depth else 0)
        return len(edges) - 1

    for one in constraints:
        root = node(0, one.longest)
        roots.append(root)
        for phrase in one.phrases:
            at = root
            for depth, token in enumerate(phrase, 1):
                if token not in edges[at]:
                    edges[at][token] = node(depth, one.longest)
                at = edges[at][token]
    leaves = np.array([not edge for edge in edges])
    width = max(len(edge) for edge in edges)
    table = np.full((2, len(edges), width), -1, np.int32)
    for at, edge in enumerate(edges):
        table[0, at, : len(edge)], table[1, at, : len(edge)] = list(edge.keys()), list(edge.values())
    counted = np.where(leaves, longest, worth).astype(np.int32)
    return Tables(table[0], table[1], np.array(roots, np.int32), np.array(inner) & ~leaves, leaves, counted)


def begun_progress(ops: Any, constraints: tuple[Constraint, ...], ids: Array, length: Any, read: int) -> Progress:
    """Where hypotheses (B, K, L) stand after the prompt, which is `length` tokens in the first `read` columns."""
    order = ops.arange(len(constraints), ids)
    shape = (*ids.shape[:2], len(constraints))
    now = Progress(ops.broadcast(known(ops, tables(constraints).roots, order, ids), shape), ops.broadcast(order, shape))
    for at in range(read):
        after = advanced(ops, constraints, now, ids[..., at], len(constraints) + at)
        filled = ops.true(now.node) & (length > at)
        now = Progress(ops.where(filled, after.node, now.node), ops.where(filled, after.order, now.order))
    return now


def known(ops: Any, table: np.ndarray[Any, Any], at: Array, like: Array) -> Array:
    """A table at some places, in the type of ids."""
    return ops.looked_up(ops.Constant(table), at, like)


def under_way(ops: Any, table: Tables, node: Array) -> tuple[Array, Array]:
    """Whether each constraint (B, K, C) is under way, and whether any of a hypothesis (B, K, 1) is."""
    busy = known(ops, table.inner.astype(np.int32), node, node)
    return busy > 0, ops.total(busy)[..., None] > 0


def advanced(ops: Any, constraints: tuple[Constraint, ...], was: Progress, token: Array, stamp: Any) -> Progress:
    """Where hypotheses stand after a token (B, K). `stamp` is above every place in the order so far."""
    table = tables(constraints)
    fits = known(ops, table.tokens, was.node, was.node) == token[..., None, None]
    after = ops.total(ops.where(fits, known(ops, table.nodes, was.node, was.node) + 1, 0)) - 1
    moves = after >= 0
    busy, any_busy = under_way(ops, table, was.node)
    waiting = ops.number(ops.where(moves, was.order, LAST))
    first = ops.arange(len(constraints), token) == ops.argmax(-waiting)[..., None]
    moving = moves & ops.where(any_busy, busy, first)
    fails = busy & ~moves
    roots = known(ops, table.roots, ops.arange(len(constraints), token), token)
    node = ops.where(moving, after, ops.where(fails, roots, was.node))
    return Progress(node, ops.where(fails, stamp, was.order))


def openings(ops: Any, constraints: tuple[Constraint, ...], was: Progress) -> Array:
    """Tokens that lead on (B, K, C * edges), -1 where there are fewer: of the constraint under way, or of all that wait."""
    table = tables(constraints)
    busy, any_busy = under_way(ops, table, was.node)
    tokens = known(ops, table.tokens, was.node, was.node)  # of a constraint that is met there are none
    tokens = ops.where((busy | ~any_busy)[..., None], tokens, -1)
    return ops.reshaped(tokens, (*tokens.shape[:2], tokens.shape[2] * tokens.shape[3]))


def all_met(ops: Any, constraints: tuple[Constraint, ...], now: Progress) -> Array:
    """Whether every constraint of a hypothesis is met, (B, K)."""
    leaves = known(ops, tables(constraints).leaves.astype(np.int32), now.node, now.node)
    return ops.total(leaves) == len(constraints)


def banks(ops: Any, constraints: tuple[Constraint, ...], now: Progress) -> Array:
    """How far hypotheses (B, K) are with all constraints together."""
    return ops.total(known(ops, tables(constraints).worth, now.node, now.node))
