"""Runs one fit in a child process and writes down what happened."""
