SELECT count(* FROM measurements
