SELECT v.measurement_uid, v.layer, o.hostname, o.tcp_us FROM verdicts v JOIN observations o USING (measurement_uid) WHERE v.state = 'blocked' ORDER BY 1, 4
