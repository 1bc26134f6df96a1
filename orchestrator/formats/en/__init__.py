"""How times are written in English: as the site's own pages do."""
