"""What we learnt: training sets, training, evaluation, the registry of models."""
