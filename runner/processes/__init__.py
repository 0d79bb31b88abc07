"""What the server has with the processes that it starts: bytes that go to and fro, and their beginning and end."""
