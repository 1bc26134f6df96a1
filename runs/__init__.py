"""What will run, runs and ran: claims, ingest, dispatch, live pages."""
