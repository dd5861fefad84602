"""8 What we choose: placements, the staged pipeline with budgets, policy, explanation, decision record."""
