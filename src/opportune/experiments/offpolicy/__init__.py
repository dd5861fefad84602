"""What another policy would have earned, judged on a log of what this one did."""
