"""What a person adds to a policy for one plan: a change number, a seed, a byte budget."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from console.rollout.policy import Policy, PolicyError
from console.transfer.budget import parse_rate


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """An empty one leaves the policy's own. `seed`: `jump`, or a node's name; `budget`: such as `2MB/s`."""

    change: str = ""
    seed: str = ""
    budget: str = ""

    def over(self, policy: Policy) -> Policy:
        """The policy with these in the place of its own. Raises PolicyError for a budget that is no rate."""
        rules = policy.transfer
        if self.budget:
            try:
                parse_rate(self.budget)
            except ValueError as error:
                raise PolicyError(str(error), key="budget") from error
        found = replace(rules, seed=self.seed or rules.seed, budget=self.budget or rules.budget)
        return policy if found == rules else replace(policy, transfer=found)


AS_IT_IS = PlanTerms()
