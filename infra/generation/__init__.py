"""From routes to generated rows: which requests, sent how, written as what."""
