"""Recording own words: takes found in a stream, checked, and kept with a manifest."""
