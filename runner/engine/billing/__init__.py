"""Costs, the budget and receipts."""
