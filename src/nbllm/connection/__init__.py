"""Does a provider answer, and what does it offer.

`check` tests the way to a provider stage by stage, `overview` says what is there and what is known of it, `discover`
looks for servers on this machine.
"""
