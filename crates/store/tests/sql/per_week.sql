SELECT date_trunc('week', start_utc) AS week, count(*) AS n FROM verdicts WHERE state = 'blocked' GROUP BY week ORDER BY week
