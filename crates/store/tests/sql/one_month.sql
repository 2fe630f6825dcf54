SELECT measurement_uid FROM measurements WHERE month = '2025-08' ORDER BY 1
