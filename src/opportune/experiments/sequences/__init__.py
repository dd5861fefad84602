"""Which message next, for what comes of the whole journey: learnt from logged journeys, conservatively."""
