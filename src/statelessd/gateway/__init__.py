"""The job: admit a request, read its message or messages, publish, render the outcome."""
