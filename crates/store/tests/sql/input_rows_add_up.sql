SELECT path, lines, measurements, rejected, lines = measurements + rejected AS adds_up FROM sources
