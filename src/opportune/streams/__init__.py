"""The scaled-out engine: Kafka for the journal, Quix Streams for the folds, Redis for what decisions read."""
