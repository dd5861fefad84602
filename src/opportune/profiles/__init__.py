"""3 What we know: folds over event time, one leaf per identifier, a person as the sum of their leaves."""
