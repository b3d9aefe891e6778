"""What a step was worth: advantages and value targets of rollouts. T horizon, B slots.

One rule for the end of a step: after termination nothing follows, so nothing is added; after truncation the value of
the episode's last observation stands for what was cut off; nothing ever crosses from one episode into the next.
"""

from __future__ import annotations

import torch

from .batch import RolloutBatch


def following_value(batch: RolloutBatch) -> torch.Tensor:
    """[T, B]: the value of what followed each step, 0 after termination."""
    following_TB = torch.cat([batch.value_TB[1:], batch.next_value_B.unsqueeze(0)])
    following_TB = torch.where(batch.truncated_TB, batch.final_value_TB, following_TB)
    return torch.where(batch.terminated_TB, torch.zeros_like(following_TB), following_TB)


def gae(batch: RolloutBatch, *, discount: float, gae_lambda: float) -> torch.Tensor:
    """Advantages [T, B]: generalised advantage estimation, Schulman et al. 2016, equation 16."""
    delta_TB = batch.reward_TB + discount * following_value(batch) - batch.value_TB
    decay_TB = discount * gae_lambda * _continues(batch)
    return _accumulate(delta_TB, decay_TB, torch.zeros_like(batch.next_value_B))


def n_step_returns(batch: RolloutBatch, *, discount: float) -> torch.Tensor:
    """Sums of discounted rewards [T, B] up to the end of episode or rollout, bootstrapped there (Mnih et al. 2016)."""
    continues_TB = _continues(batch)
    ended_here_TB = (1 - continues_TB) * following_value(batch)
    return _accumulate(batch.reward_TB + discount * ended_here_TB, discount * continues_TB, batch.next_value_B)


def vtrace(
    batch: RolloutBatch,
    log_ratio_TB: torch.Tensor,
    *,
    discount: float,
    trace_decay: float = 1.0,
    max_rho: float = 1.0,
    max_c: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Value targets and policy-gradient advantages [T, B]: Espeholt et al. 2018 (IMPALA), equation 1 and section 4.2.

    `trace_decay` is lambda of its remark 2: 1 where n-step returns are wanted.

    `log_ratio_TB` is the learner's log-probability of each action less the actor's; the batch's values are the
    learner's.
    """
    rho_TB = log_ratio_TB.exp().clamp(max=max_rho)
    c_TB = trace_decay * log_ratio_TB.exp().clamp(max=max_c)
    following_TB, continues_TB = following_value(batch), _continues(batch)
    delta_TB = rho_TB * (batch.reward_TB + discount * following_TB - batch.value_TB)
    correction_TB = _accumulate(delta_TB, discount * c_TB * continues_TB, torch.zeros_like(batch.next_value_B))
    target_TB = batch.value_TB + correction_TB
    next_target_TB = torch.cat([target_TB[1:], batch.next_value_B.unsqueeze(0)])
    bootstrap_TB = torch.where(continues_TB > 0, next_target_TB, following_TB)
    return target_TB, rho_TB * (batch.reward_TB + discount * bootstrap_TB - batch.value_TB)


def _continues(batch: RolloutBatch) -> torch.Tensor:
    """float32 [T, B]: 1 where the next row belongs to the same episode, else 0."""
    return (~(batch.terminated_TB | batch.truncated_TB)).float()


def _accumulate(term_TB: torch.Tensor, decay_TB: torch.Tensor, last_B: torch.Tensor) -> torch.Tensor:
    """x[t] = term[t] + decay[t] * x[t + 1], with x[T] = `last_B`."""
    result_TB = torch.empty_like(term_TB)
    for t in reversed(range(len(term_TB))):
        last_B = torch.addcmul(term_TB[t], decay_TB[t], last_B, out=result_TB[t])
    return result_TB
