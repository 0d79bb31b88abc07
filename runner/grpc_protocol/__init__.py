"""gRPC over HTTP/2, the server's side, without I/O: streams in, calls out; replies in, fields and bytes out."""
