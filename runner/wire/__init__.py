"""The protobuf side of a call: its envelope, its reply, and the codec between values and messages."""
