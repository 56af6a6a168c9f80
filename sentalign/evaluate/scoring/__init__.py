"""Maps and targets → one number a metric and case: targets on rasters, formulas, the three protocols."""
