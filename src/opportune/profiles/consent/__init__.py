"""What a person allows: remembered per identifier with its evidence, judged by the workspace's policy."""
