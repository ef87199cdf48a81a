"""The verifier: a larger network that confirms or rejects events.

It is asked when they are about to fire.
"""
