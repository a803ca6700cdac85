"""Scripts that run inside the checkout that is measured, with its code and its interpreter.

They are run by their path, so they import nothing of this package.
"""
