"""Evidence that may begin at any time: an e-process over several alternatives and over the time of the onset.

One unit of wealth is spread over the blocks to come: half of it on the first, the rest ever thinner. What was put on a
block is multiplied by the evidence from there on. A regression that begins late is found nearly as fast as one that was
there from the start, for old good blocks cannot wear off what was not staked on them. What is lost grows only with the
logarithm of the wait: 5 nats after 20 blocks, 6 after 40, 9 after 240.
(E-detectors: Shin, Ramdas, Rinaldo 2022; Ville's inequality bounds the chance of ever reaching 1/alpha by alpha.)

Logarithms throughout; what is not there yet is FLOOR, a wealth of nothing.
"""

import numpy as np

from analysis.kernel import Floats

FLOOR = -60.0


def stake(block: Floats) -> Floats:
    """The wealth put on the start at this block, counted from 1: 1/2, then 5/((t+8)(t+9)). All together: 1."""
    return np.where(block <= 1, 0.5, 5.0 / ((block + 8.0) * (block + 9.0)))


def unspent(blocks: Floats) -> Floats:
    """The wealth not put on any of so many blocks."""
    return np.where(blocks < 1, 1.0, 5.0 / (blocks + 9.0))


def add(log_wealth: Floats, block: Floats, evidence: Floats) -> Floats:
    """The wealth on each alternative, shape (…, J), after the block of this number; `evidence` in nats."""
    return np.maximum(np.logaddexp(log_wealth, np.log(stake(block))[..., None]) + evidence, FLOOR)


def log_evidence(log_wealth: Floats, blocks: Floats, weights: Floats) -> Floats:
    """The logarithm of all wealth: the evidence that at most one in exp() of harmless canaries ever reaches."""
    on_alternatives = np.logaddexp.reduce(log_wealth + np.log(weights), axis=-1)
    return np.logaddexp(on_alternatives, np.log(unspent(blocks)))
