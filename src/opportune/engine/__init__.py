"""Where the stages meet: the engine, its admission door, its folded state, its checkpoints."""
