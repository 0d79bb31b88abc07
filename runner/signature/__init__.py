"""Types and methods as data: hints are read into a closed tree, and a tree is published and printed."""
