"""What every controller needs and no library gave us whole: client, reflector, work queue, elector.

Evidence for writing these is in docs/adr; each is tested against injected faults on real sockets.
"""
