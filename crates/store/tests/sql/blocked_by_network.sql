SELECT country, network, mechanism, count(*) AS measurements FROM measurement_verdicts WHERE anomaly GROUP BY country, network, mechanism ORDER BY country, network
