"""Adapters that run as commands of their own, in environments of their own."""
