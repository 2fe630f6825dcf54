SELECT * FROM measurement_verdicts ORDER BY measurement_uid
