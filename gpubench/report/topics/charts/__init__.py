"""Charts: what they show is computed here from plain data; `draw` and `svg` alone know altair and vl-convert."""
