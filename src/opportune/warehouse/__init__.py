"""The derived tables: what analysis reads, following the journal by offset."""
