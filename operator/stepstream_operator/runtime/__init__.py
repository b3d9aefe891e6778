"""What every controller needs and no library gave us whole: client, reflector, work queue, elector.

Why these are our own: docs/adr/0010. Each is tested against injected faults on real sockets.
"""
