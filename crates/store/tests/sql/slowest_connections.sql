SELECT hostname, median(tcp_us) AS tcp_us_p50, max(tcp_us) AS tcp_us_max FROM observations GROUP BY hostname
