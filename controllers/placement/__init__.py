"""Where an instance shall run: filters, the decision in one place, and its explanation. Pure but for the controller."""
