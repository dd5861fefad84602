"""1 What happened: event types, dialects, tracking plan, time, de-duplication."""
