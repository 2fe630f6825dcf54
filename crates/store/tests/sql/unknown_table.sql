SELECT *
FROM measurments
