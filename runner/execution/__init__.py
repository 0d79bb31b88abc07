"""Running a model's methods: threads for plain functions, the loop for coroutines, and streams between both."""
