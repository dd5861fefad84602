"""Who changes because of a treatment: learners, measures, audiences."""
