"""Who might be who: match weights learned without labels (Fellegi and Sunter, JASA 1969).

Records of people (name, birthday, address, e-mail, whatever the columns are) are compared pair by pair; each
column's agreement adds or takes evidence, and the sum is the weight of the pair. Nothing here changes the
deterministic graph: a likely pair is a proposal.
"""
