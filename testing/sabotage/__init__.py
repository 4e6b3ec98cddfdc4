"""Takes away one defence at a time, and sees whether its test notices.

`table.py` lists the defences. What stays green without its defence is a finding.
"""
