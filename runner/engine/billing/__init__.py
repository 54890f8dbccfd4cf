"""Prices, costs, the budget and receipts."""
