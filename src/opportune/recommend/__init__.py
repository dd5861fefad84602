"""5 What might fit: candidate sources behind one protocol, kernels beside their readable reference."""
