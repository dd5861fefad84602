"""What we try: assignment, statistics, bandits, off-policy evaluation, uplift."""
