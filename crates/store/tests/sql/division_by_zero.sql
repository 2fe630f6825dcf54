SELECT line / 0 FROM measurements
