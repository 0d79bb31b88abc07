"""The native transport: gRPC on our own HTTP/2, on asyncio's event loop."""
