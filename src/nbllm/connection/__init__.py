"""Does a provider answer, and what does it offer.

`check` tests the way to a provider stage by stage, `listing` keeps the model lists that providers gave, `discover`
looks for servers on this machine.
"""
