"""How the administration writes times, by language."""
