"""Task runners: where submitted tasks execute. Each kind is one module here."""
