SELECT count(*) AS n FROM measurements WHERE start_utc >= '2025-07-26' AND country = 'RU'
