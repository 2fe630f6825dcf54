SELECT measurement_uid,
  contry
FROM rejects
