"""Helpers of the tests: services, clocks, terminals and made-up data."""
