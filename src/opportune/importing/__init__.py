"""Import: files that people already have (CSV, JSON lines, Parquet) become events, orders and items.

Read in this order: ``rows`` (what a file holds), ``csv_rows`` ``jsonl_rows`` ``parquet_rows`` (readers),
``columns`` (which column means what), ``events`` ``orders`` ``items`` (rows to raw events), ``position``
(where an interrupted import goes on), ``run`` (the loop).
"""
