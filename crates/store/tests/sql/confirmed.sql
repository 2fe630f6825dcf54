SELECT measurement_uid, state FROM measurement_verdicts WHERE confirmed
