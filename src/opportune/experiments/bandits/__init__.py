"""Traffic that follows what works: policies, what they have learnt, exact propensities."""
