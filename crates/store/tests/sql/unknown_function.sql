SELECT median_of(line) FROM measurements
