SELECT month, count(*) AS measurements, min(start_utc) AS first, max(start_utc) AS last FROM measurements GROUP BY month ORDER BY month
