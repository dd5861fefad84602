"""What the numbers of an experiment say: sums that combine, effects, intervals, checks, plans."""
