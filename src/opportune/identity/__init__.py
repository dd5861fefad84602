"""2 Who it was: identifiers, links with evidence, components derived from them."""
