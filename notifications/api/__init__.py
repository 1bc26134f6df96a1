"""The REST API of notification policies, destinations, deliveries and mutes."""
