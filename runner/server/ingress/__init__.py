"""Ingress processes: children of the server that own its connections, for nodes where one core is not enough.

They do what costs most for each call, and decide nothing: bytes of sockets, TLS, HTTP/2, header blocks, messages and
their compression. Each call goes on to the main process at the level of `server/rpcs.py`.
"""
