"""For the tests of those who use nbllm: a plugin of pytest that lets code and notebooks answer from recordings.

pytest imports this in every run on a machine that has nbllm, so the package imports nothing but pytest, the standard
library and `nbllm.transport.under_test` before a test uses it.
"""
