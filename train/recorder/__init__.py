"""Recording of own words: takes found in a stream, checked, and kept.

With a manifest.
"""
